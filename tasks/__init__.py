"""One stage of the pipeline a file: thin Prefect tasks around `lstm_model`."""
