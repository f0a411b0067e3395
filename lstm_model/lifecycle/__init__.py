"""Manage models in production: the gate, the registry, the ledger of forecasts, the monitor, retention."""
