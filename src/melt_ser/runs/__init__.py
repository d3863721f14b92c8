"""A run: its folder, its result, and how both are made."""
