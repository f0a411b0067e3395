"""Run peers in their own environment: files and lines of JSON go to and fro, nothing else."""
