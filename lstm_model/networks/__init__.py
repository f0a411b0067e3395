"""The torch modules and their losses."""
