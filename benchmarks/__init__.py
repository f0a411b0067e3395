"""One script a table: `python -m benchmarks.NAME`, results in benchmarks/results; all of them: `make bench`."""
