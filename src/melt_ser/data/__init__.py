"""Rows of corpus tables as padded batches, read from audio files or from caches."""
