"""Read and write the record beside a bundle's weights, without loading torch.

A record is sealed: it holds the sha256 of its own content.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from lstm_model.contracts.artifact import MANIFEST
from lstm_model.contracts.settings import Covariates

RECORD, FORMAT = "bundle.json", 1


def copy_bundle(source: Path, target: Path, extra: dict[str, Any]) -> None:
    """Copy a model's folder, whatever else lies in it too, with `extra` added to its card; `target` is made.

    The manifest stays behind: it belongs to the artifact that `source` is, and `target` is another.

    Raises:
        ValueError: the source's record is missing, truncated or changed.
    """
    record = read_record(source)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(MANIFEST, RECORD), dirs_exist_ok=True)
    write_record(target, {**record, "card": record["card"] | extra})


def read_card(folder: Path) -> dict[str, Any]:
    """The card that was saved with a bundle, without loading its weights."""
    card: dict[str, Any] = read_record(folder)["card"]
    return card


def covariates_of(card: dict[str, Any]) -> Covariates:
    """The covariates that a bundle reads, by the names that they have in a series table."""
    kept = card["covariates"]
    columns = {f"{name}={c}": name for name, categories in kept["static_categories"].items() for c in categories}
    static = dict.fromkeys(columns.get(column, column) for column in kept["static_columns"])
    return Covariates(static=tuple(static), past=tuple(kept["past"]), future=tuple(kept["future"]))


def read_record(folder: Path) -> dict[str, Any]:
    """All of it, the card included.

    Raises:
        ValueError: it is missing, truncated, changed after it was written, or of another format.
    """
    file = folder / RECORD
    try:
        sealed = json.loads(file.read_text(encoding="utf-8"))
        record = {key: value for key, value in sealed.items() if key != "sha256"}
        whole = sealed["sha256"] == _digest(record)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"{file} cannot be read as a bundle's record: {error!r}") from error
    if not whole:
        raise ValueError(f"{file} was changed after it was written: its sha256 does not match its content")
    if record["format"] != FORMAT:
        raise ValueError(f"{file} has format {record['format']}, this version reads {FORMAT}")
    return record


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Seal and write it."""
    sealed = {**record, "sha256": _digest(record)}
    (folder / RECORD).write_text(json.dumps(sealed, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
