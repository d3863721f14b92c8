"""A module for each release layout."""
