"""The policy as users hold it, how well it does, and the record of what it wrote."""
