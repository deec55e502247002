"""State, losses, step, loop, logs, checkpoints, export."""
