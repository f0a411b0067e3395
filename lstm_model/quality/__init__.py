"""The data doctor: what is wrong with the data, and what is repaired."""
