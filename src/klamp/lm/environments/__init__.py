"""What answers a policy: rows of data with rewards, environments of text, a user's own code."""
