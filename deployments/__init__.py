"""Serve pipelines, which are YAML files, on their schedules."""
