"""LSTM forecasting in plain Python and torch: no Prefect, no environment variables, no side effects on import."""
