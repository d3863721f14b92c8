"""The command line: settings composed, checked and explained; the frame of every verb; sweeps."""
