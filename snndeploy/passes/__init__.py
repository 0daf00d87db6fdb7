"""One file a pass: from a float network to an integer spiking network."""
