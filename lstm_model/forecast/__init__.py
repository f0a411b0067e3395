"""A trained forecaster: its bundle, its calibration, its forecasts of what comes next."""
