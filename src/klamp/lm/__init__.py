"""Policies that are language models: an action is a sampled token."""
