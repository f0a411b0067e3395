"""Build the values that tests of several rooms need, with a plain default for each field."""

from lstm_model.contracts.windows_meta import SPLITS, WindowsMeta


def windows_meta(**changes) -> WindowsMeta:
    """Build the metadata of windows without covariates, whose context is 8 and whose horizon is 2."""
    sizes = {name: dict.fromkeys(SPLITS, value) for name, value in (("stride", 1), ("lead", 8), ("min_context", 2))}
    cutoffs = dict(zip(SPLITS, ("79", "89", "99"), strict=True))
    geometry = {"context": 8, "horizon": 2, "frequency": "1", "season": 1, "align": "calendar", **sizes}
    covariates = {"past": [], "future": [], "static_columns": [], "static_categories": {}, "static": {}}
    none = {"past": [], "future": [], "static": []}
    found = {"windows": dict.fromkeys(SPLITS, 0), "cutoffs": cutoffs, "moments": none, "scaler": none}
    return WindowsMeta(**{**geometry, **covariates, **found, **changes})
