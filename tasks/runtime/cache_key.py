"""Make the cache key of a stage.

The key of a stage = its name + its inputs (its own section of the config, Artifacts by their sha256) + the code that
it runs (`code_hash.py`).
"""

from __future__ import annotations

import hashlib
import inspect
import json
from typing import Any

from prefect import Task
from pydantic_core import to_jsonable_python

from lstm_model.storage.store import Store
from tasks.runtime.code_hash import closure_hash

Stage = Task[..., Any]
Inputs = dict[str, Any]
"""The arguments of a stage by name: Prefect passes them so, and each stage gives them their types."""

UNKEYED = frozenset({"parent", "ray_address"})
"""Inputs that do not count: where a training starts changes how long it takes, not what is asked for. Were the champion
in the key, each promotion would make the next run train again on the same data."""


def stage_key(stage: Stage, inputs: Inputs) -> str:
    """Return the cache key of a stage for these inputs; where the store is does not count, nor do `UNKEYED` inputs.

    What is not given counts as its default.
    """
    given = inspect.signature(stage.fn).bind_partial(**inputs)
    given.apply_defaults()
    counted = {k: value for k, value in given.arguments.items() if k not in UNKEYED and not isinstance(value, Store)}
    text = json.dumps(to_jsonable_python(counted), sort_keys=True)
    module = stage.fn.__module__
    digest = hashlib.sha256("\0".join([module, stage.fn.__qualname__, text, closure_hash(module)]).encode())
    return f"{stage.fn.__name__}-{digest.hexdigest()}"
