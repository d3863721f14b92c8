"""The version of the package; a result names it."""

__version__ = "0.1.0"
