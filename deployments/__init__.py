"""Pipelines as YAML files, and what serves them on their schedules."""
