"""What every process needs: device, compiled programs, seeds, signals, streams."""
