"""A trained policy as a file that runs without klamp: ONNX, or numpy."""
