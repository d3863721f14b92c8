"""Training: the loop, its optimisation, its checkpoints, and the cache of frozen features."""
