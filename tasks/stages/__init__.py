"""The cached stages: each reads artifacts, calls `lstm_model`, writes an artifact."""
