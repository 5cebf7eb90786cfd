"""Environments: how they are made, stepped and checked. Only this room calls Gymnasium's makers."""

MASK_KEY = "action_mask"
"""Where an environment tells the allowed actions: a key of its info or of a Dict observation."""
