"""Controllers that stop an inference as soon as it is sure."""
