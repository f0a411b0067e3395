"""Forecast with an LSTM in plain Python and torch: no Prefect, no environment variables, no effects on import."""
