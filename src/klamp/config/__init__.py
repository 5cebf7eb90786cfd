"""Every setting that a person can choose; imports no JAX."""
