"""START HERE. A flow is calls and ifs; the work is in `tasks` and `lstm_model`."""
