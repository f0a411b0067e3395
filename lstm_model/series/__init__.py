"""Keep the long series table: measure it, divide it into shards, and infer settings from it."""
