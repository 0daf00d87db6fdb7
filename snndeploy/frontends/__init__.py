"""Readers of other people's models: each gives a float `Network`."""
