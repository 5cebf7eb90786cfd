"""From completions to a new θ: advantages, KL to a reference, the update; supervised starts."""
