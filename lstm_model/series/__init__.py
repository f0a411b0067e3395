"""The long series table, measured, divided into shards, and the settings that are inferred from it."""
