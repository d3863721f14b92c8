"""Use the models and corpora of this package in other tools; each module needs its tool."""
