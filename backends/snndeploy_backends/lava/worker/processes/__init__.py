"""The Lava processes. Lava executes every module that lies beside them: keep them alone."""
