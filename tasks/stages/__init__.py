"""Run the cached stages: each reads artifacts, calls `lstm_model`, and writes an artifact."""
