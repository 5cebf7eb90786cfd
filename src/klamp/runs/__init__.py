"""The folder of a run: a kill leaves it whole, and it is read as if a stranger had made it."""
