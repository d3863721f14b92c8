"""Use what this package makes in other tools; each module needs its tool."""
