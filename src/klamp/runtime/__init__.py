"""What a process stands on: its device, its seeds, its signals, what it compiled."""
