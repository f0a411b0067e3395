"""What runs in the peers' environment: files and lines of JSON go to and fro, nothing else."""
