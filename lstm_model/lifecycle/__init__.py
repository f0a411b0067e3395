"""What becomes of a model: the gate, the registry, the ledger of forecasts, the monitor, retention."""
