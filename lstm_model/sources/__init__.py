"""Read raw tables from files or SQL, or generate them; find the roles of columns, and changes of the data."""
