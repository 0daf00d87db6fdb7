"""What runs in the Lava environment's interpreter: Python 3.10, NumPy 1.26, no torch."""
