"""Forecast with a trained network: its bundle, its calibration, its predictions."""
