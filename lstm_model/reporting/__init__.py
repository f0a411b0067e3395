"""Draw plots and write reports."""
