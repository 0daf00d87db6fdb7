"""Small recipes for training quantized networks; not a framework."""
