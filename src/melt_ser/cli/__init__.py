"""The command line: configuration composed, checked and explained; sweeps."""
