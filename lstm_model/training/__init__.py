"""The training loop and what it needs: batches, validation, checkpoints, warm starts."""
