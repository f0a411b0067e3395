"""Cut series into segments on disk, and view their windows in memory or streamed."""
