"""Where bytes are kept, written atomically: a folder or a bucket, artifacts named by their content, databases."""
