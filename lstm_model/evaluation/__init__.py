"""Baselines, error scales, scores and folds."""
