"""Measure: one script a table, `python -m benchmarks.NAME`, results in benchmarks/results; all: `make bench`."""
