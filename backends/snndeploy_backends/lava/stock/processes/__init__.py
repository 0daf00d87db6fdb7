"""Alone in its folder: Lava executes all files beside a process."""
