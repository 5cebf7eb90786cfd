"""What is collected between two updates, from tasks, data and environments, in shards."""
