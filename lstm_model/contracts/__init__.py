"""Define the plain values that pass between rooms: settings, artifacts, findings, decisions. Free to import."""
