"""ATen operators, as `torch.export` writes them: one file a family."""
