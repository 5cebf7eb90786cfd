"""A trained policy: how it acts, and how well."""
