"""Evaluate forecasts: baselines, error scales, scores, folds."""
