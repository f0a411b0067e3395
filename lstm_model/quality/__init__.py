"""Examine the data: find what is wrong with them, and repair what can be repaired."""
