"""The checks of an environment before training."""
