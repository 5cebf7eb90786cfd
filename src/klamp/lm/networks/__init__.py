"""The decoder, its files and adapters, what it writes, and the policy that updates know."""
