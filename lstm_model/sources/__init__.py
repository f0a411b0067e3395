"""Raw tables in, from files, SQL or made here: which column is what, and whether the data changed."""
