"""Faster and batch-invariant forward passes for the four families."""
