"""Spaces: which are supported, and how their values become arrays."""
