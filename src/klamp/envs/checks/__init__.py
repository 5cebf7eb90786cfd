"""What is tried with an environment before it is trained on."""
