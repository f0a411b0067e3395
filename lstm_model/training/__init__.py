"""Train a network: the loop, batches, validation, checkpoints, warm starts."""
