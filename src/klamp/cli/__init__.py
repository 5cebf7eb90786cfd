"""The command line: one file for each command that has more to it than its options."""
