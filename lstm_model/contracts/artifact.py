"""Name a result by its content: stages pass artifacts to each other instead of tables or tensors."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

MANIFEST = "manifest.json"
"""The file that names all others of an artifact and their sha256; the artifact is named by its own."""


class Artifact(BaseModel):
    """What stages pass to each other: small, JSON-serialisable, independent of where the store lies."""

    model_config = ConfigDict(frozen=True)

    kind: str = Field(pattern="^[a-z_]+$")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    num_rows: int = Field(ge=0)


VERSION_DIGITS = 16
"""Hex digits of a bundle's sha256 that name it."""


def version_of(bundle: Artifact) -> str:
    """Return the name of a bundle that people and the ledger use: the first hex digits of its sha256."""
    return bundle.sha256[:VERSION_DIGITS]
