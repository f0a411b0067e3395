"""Name a result by its content: stages pass artifacts to each other instead of tables or tensors."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

MANIFEST = "manifest.json"
"""The file that names all others of an artifact and their sha256; the artifact is named by its own."""


class Artifact(BaseModel):
    """What stages pass to each other: small, JSON-serialisable, independent of where the store lies."""

    model_config = ConfigDict(frozen=True)

    kind: str
    sha256: str
    num_rows: int
