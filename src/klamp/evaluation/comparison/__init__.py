"""The comparison of runs: as a table, as a page, and live."""
