"""Read raw tables from files or SQL or generate them: which column is what, and whether the data changed."""
