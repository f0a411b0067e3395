"""Write docs/reference.md, which lists every setting of a pipeline's YAML, from the models: `make reference`.

A row is one field: its name, its type, its default, and the meaning that its docstring gives.
"""

from __future__ import annotations

import json
import re
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lstm_model.contracts.settings import PipelineConfig

PAGE = Path(__file__).parent / "reference.md"
HEAD = """# Settings

Every setting of a pipeline's YAML file. `make reference` writes this page from the models in
[settings.py](../lstm_model/contracts/settings.py).

A setting without a value is inferred from the data, or not used. On a command line, `--set SETTING=VALUE` sets one,
such as `--set advanced.training.seed=1`. A name that is not in these tables is an error.
"""
WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false"}
BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def list_sections(model: type[BaseModel], path: str = "") -> list[tuple[str, type[BaseModel]]]:
    """Return each section's dotted path and model, the sections of a section right after it."""
    found = [(path, model)]
    for name, field in model.model_fields.items():
        if inner := find_section(field):
            found += list_sections(inner, f"{path}.{name}".lstrip("."))
    return found


def find_section(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a field that is a section itself."""
    kinds = [field.annotation, *get_args(field.annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def describe_type(annotation: Any) -> str:
    """Return the words for a type: `text`, `whole number`, `one of a, b`, `list of text`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "one of " + ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(describe_type(kind) for kind in arguments if kind is not NoneType)
    if origin is tuple:
        return f"list of {describe_type(arguments[0])}"
    if origin is dict:
        return f"{describe_type(arguments[1])} by name"
    if origin is not None:  # Annotated, for one
        return describe_type(arguments[0])
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "one of " + ", ".join(f"`{member.value}`" for member in annotation)
    return WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def describe_bounds(field: FieldInfo) -> str:
    """Return the limits of a field in words, such as `at least 1`, with a comma before; nothing where it has none."""
    limits = [
        f"{words} {getattr(one, name):,}"
        for one in field.metadata
        for name, words in BOUNDS.items()
        if hasattr(one, name)
    ]
    return "".join(f", {limit}" for limit in limits)


def describe_default(field: FieldInfo) -> str:
    """Return a default as YAML has it; empty where there is none."""
    value = field.get_default(call_default_factory=True)
    if value is None or field.is_required():
        return ""
    shown = value.value if isinstance(value, Enum) else value
    return f"`{json.dumps(shown)}`".replace('"', "")


def describe_field(field: FieldInfo) -> str:
    """Return a field's meaning on one line."""
    return re.sub(r"\s+", " ", field.description or "").replace("|", "\\|")


def write_page() -> str:
    """Return docs/reference.md."""
    lines = [HEAD]
    for path, model in list_sections(PipelineConfig):
        lines += [f"## {path or 'The pipeline'}", "", f"{(model.__doc__ or '').splitlines()[0]}", ""]
        lines += ["| setting | type | default | meaning |", "| --- | --- | --- | --- |"]
        for name, field in model.model_fields.items():
            if inner := find_section(field):
                where = f"{path}.{name}".lstrip(".")
                cells = [
                    f"`{name}`",
                    f"[section](#{where.replace('.', '')})",
                    "",
                    describe_field(field) or str(inner.__doc__),
                ]
            else:
                kind = describe_type(field.annotation) + describe_bounds(field)
                cells = [f"`{name}`", kind, describe_default(field), describe_field(field)]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(write_page(), encoding="utf-8")
