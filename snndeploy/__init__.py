"""The compiler and laboratory for neuromorphic deployment."""
