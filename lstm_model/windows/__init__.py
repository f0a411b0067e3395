"""Cutoffs, segments on disk, and their windows in memory or streamed."""
