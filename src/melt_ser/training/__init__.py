"""Training: the loop, its optimisation, its checkpoints, and the run around it."""
