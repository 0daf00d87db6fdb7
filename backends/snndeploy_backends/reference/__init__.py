"""The NumPy definition, and the engine that is held to it."""
