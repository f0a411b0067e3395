"""Wrap `lstm_model` in thin Prefect tasks, one stage of the pipeline a file."""
