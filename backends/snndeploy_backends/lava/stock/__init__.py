"""Networks on Lava's own processes: Conv, Dense and LIF, or what lava-dl builds of them."""
