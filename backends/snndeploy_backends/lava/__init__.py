"""The Lava backend: lava-nc processes with Loihi timing, in an environment of their own."""
