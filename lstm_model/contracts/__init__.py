"""Plain values that pass between rooms: settings, artifacts, findings, decisions; importing them costs nothing."""
