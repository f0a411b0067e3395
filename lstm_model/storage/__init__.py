"""Keep bytes, written atomically: in a folder or a bucket, artifacts named by their content; reach databases."""
