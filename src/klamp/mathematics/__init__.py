"""The mathematics of policy gradients, which knows no environment and no run."""
