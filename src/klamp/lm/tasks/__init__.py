"""Tasks that need no download: environments of token ids with a known best policy."""
