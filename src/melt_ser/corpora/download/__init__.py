"""Releases fetched and unpacked."""
