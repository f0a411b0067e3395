"""Define the torch modules and their losses."""
