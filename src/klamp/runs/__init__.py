"""The folder of a run: complete after a kill, and read as untrusted data."""
