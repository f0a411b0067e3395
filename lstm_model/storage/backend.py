"""Keep the files that the runs of a problem share: in a folder of this machine, or in an object store.

Names are relative to the store, with slashes. What only this machine needs (drafts, locks, checkpoints) is no concern
of a home.
"""

from __future__ import annotations

import os
import platform
import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

HOST = re.sub("[^A-Za-z0-9]", "_", platform.node())
"""In the names of drafts: only the machine that wrote one can tell whether its writer lives."""

Change = Callable[[bytes | None], bytes | None]
"""From the present content (None: there is no such file) to the new one; None leaves it as it is."""


@dataclass(frozen=True)
class Entry:
    """A file of a home, as it was when it was listed."""

    name: str
    modified: float
    """Seconds since 1970, by the clock of the home."""
    size: int
    tag: str = ""
    """Changes with the content; empty where the home is a folder."""


class Home(Protocol):
    """What a store asks of the place where its files live."""

    is_shared: bool
    """Whether other machines write there too: locks of this machine are not enough then."""
    name: str
    """Of the problem."""
    parent: str
    """What a person gives as --store."""

    def shown(self, name: str) -> str:
        """Where a person finds it: a path or a URL."""

    def read(self, name: str) -> bytes:
        """The content; FileNotFoundError where there is none."""

    def write(self, name: str, content: str | bytes, *, durable: bool = False) -> None:
        """Readers see the old content or the new one; `durable`: after a power cut too."""

    def add(self, name: str, content: bytes) -> Entry | None:
        """Write a file that is not there yet; None where there is one of that name."""

    def change(self, name: str, change: Change) -> bool:
        """Replace the content by what `change` makes of it, unless another writer came between; whether it changed."""

    def entries(self, folder: str) -> list[Entry]:
        """All files below a folder, in order of name; none where there is no such folder."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def local(self, entry: Entry) -> Path:
        """A file of this machine with the entry's very content; FileNotFoundError where that is gone."""


class Folder:
    """A home on this machine. Writers of one file hold a lock of the store."""

    is_shared = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name, self.parent = root.name, str(root.parent)

    def shown(self, name: str) -> str:
        return str(self.root / name)

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def write(self, name: str, content: str | bytes, *, durable: bool = False) -> None:
        write_atomically(self.root / name, content, durable=durable)

    def add(self, name: str, content: bytes) -> Entry | None:
        self.write(name, content, durable=True)
        return self._entry(self.root / name)

    def change(self, name: str, change: Change) -> bool:
        try:
            before = self.read(name)
        except FileNotFoundError:
            before = None
        after = change(before)
        if after is not None:
            self.write(name, after, durable=True)
        return after is not None

    def entries(self, folder: str) -> list[Entry]:
        files = sorted(f for f in (self.root / folder).rglob("*") if not f.name.startswith(".") and f.is_file())
        found = []
        for file in files:
            with suppress(FileNotFoundError):
                found.append(self._entry(file))
        return found

    def remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def local(self, entry: Entry) -> Path:
        return self.root / entry.name

    def _entry(self, file: Path) -> Entry:
        facts = file.stat()
        return Entry(file.relative_to(self.root).as_posix(), facts.st_mtime, facts.st_size)


def is_url(root: str) -> bool:
    """Whether a store's root is an object store's address rather than a folder."""
    return "://" in root


def whole_root(root: str) -> str:
    """A store's root as it means the same from every folder: an absolute path, or the URL.

    Raises:
        ValueError: the URL has a password in it, which would be stored and logged.
    """
    if not is_url(root):
        return str(Path(root).resolve())
    if re.search(r"://[^/?@]*:[^/?@]*@|[?&][^=&]*(password|secret|token|key|sig)[^=&]*=", root, re.IGNORECASE):
        raise ValueError(
            "the store's URL contains a password or a key; it would be stored and logged. Remove it and set it in the "
            "environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for s3://)"
        )
    return root.rstrip("/")


def redact(path: str) -> str:
    """A URL without its user part, which may hold credentials."""
    return re.sub(r"//[^?@]*:[^?@]*@", "//***@", path)


def write_atomically(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Readers see the old content or the new one, never half of it; `durable`: after a power cut too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        if durable:
            flush(draft)
        draft.replace(path)
        if durable:
            flush(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Wait until the disk holds a file's bytes, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
