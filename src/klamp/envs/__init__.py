"""How environments are made, stepped and checked; no other folder calls ``gymnasium.make``."""

MASK_KEY = "action_mask"
"""The key of an info, or of a Dict observation, with the mask of allowed actions."""
