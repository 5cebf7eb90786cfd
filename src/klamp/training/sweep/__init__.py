"""Many runs with different settings, chosen by Optuna, on one storage that survives kills."""
