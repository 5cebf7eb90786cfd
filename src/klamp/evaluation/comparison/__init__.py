"""Runs side by side: what may be said of them, as a table, as a page, and live."""
