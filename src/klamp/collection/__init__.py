"""Environments stepped by a policy: rollouts."""
