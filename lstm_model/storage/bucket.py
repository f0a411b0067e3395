"""Keep files in an object store: S3 and what speaks its language, Google Cloud Storage, Azure.

Nothing locks across machines. What must not be lost by two writers is written on a condition, that a name is free or
that its content is still what was read, and the store refuses all but one; one that does not refuse is not used.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from lstm_model.storage.backend import Change, Entry
from lstm_model.storage.bucket_errors import CONDITION_ERRORS, shorten_error, translate_error
from lstm_model.storage.checksums import DamagedFileError
from lstm_model.storage.drafts import write_draft

TRIES = 60
"""Of a change, before it is given up: each failure is somebody else's success."""
TIMEOUT_SECONDS = 30.0
"""For one request; files travel in pieces of `PIECE_BYTES`."""
PIECE_BYTES = 8 << 20
PROBED_BUCKETS: set[str] = set()
"""Stores that this process has seen refuse what they must."""


class Bucket:
    """The files of a folder below a bucket.

    Args:
        url: such as s3://bucket/prefix/name; credentials, region and endpoint come from the environment.
        timeout_seconds: for one request.

    Raises (all methods, beside what `Backend` says):
        ConnectionError: the store cannot be reached, or answers that it cannot serve now.
        TimeoutError: it does not answer in time.
        PermissionError: no credentials, or they do not suffice.
        ValueError: no such bucket, or the store lacks conditional writes.
    """

    is_shared = True

    def __init__(self, url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.url, self.timeout_seconds = url.rstrip("/"), timeout_seconds
        self.parent, _, self.name = self.url.rpartition("/")

    def __getstate__(self) -> dict[str, Any]:
        """Without the connection, for processes that work side by side: it holds credentials."""
        return {name: value for name, value in self.__dict__.items() if name != "_store"}

    def shown(self, name: str) -> str:
        return f"{self.url}/{name}"

    def read(self, name: str, *, most_bytes: int | None = None) -> bytes:
        return self._read(name, most_bytes)[0]

    def write(self, name: str, content: str | bytes, *, durable: bool = False) -> None:
        self._put(name, content.encode() if isinstance(content, str) else content)

    def add(self, name: str, content: bytes) -> Entry | None:
        import obstore.exceptions

        try:
            tag = self._put(name, content, mode="create")
        except obstore.exceptions.AlreadyExistsError:
            return None
        return Entry(name, time.time(), len(content), tag)

    def change(self, name: str, change: Change) -> bool:
        import obstore.exceptions

        for number in range(TRIES):
            try:
                before, mode = self._read(name)
            except FileNotFoundError:
                before, mode = None, "create"
            after = change(before)
            if after is None:
                return False
            try:
                self._put(name, after, mode=mode)
                return True
            except (obstore.exceptions.AlreadyExistsError, obstore.exceptions.PreconditionError):
                pause(number)
        raise ConnectionError(f"{self.shown(name)}: other writers came between {TRIES} times; try again")

    def entries(self, folder: str) -> list[Entry]:
        with self._translate_errors(folder):
            found = [meta for page in self._store.list(folder) for meta in page]
        listed = [
            Entry(m["path"], m["last_modified"].timestamp(), m["size"], m["e_tag"] or "")
            for m in found
            if m["path"] != folder  # an object "folder/", by which consoles of the stores show an empty folder
        ]
        return sorted(listed, key=lambda entry: entry.name)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError), self._translate_errors(name):  # S3 does not say so, others do
            self._store.delete(name)

    def upload(self, name: str, file: Path) -> None:
        """Write a file of any size; it is there once all of it has arrived."""
        with self._translate_errors(name):
            self._store.put(name, file, chunk_size=PIECE_BYTES, max_concurrency=4)

    def download(self, entry: Entry, path: Path) -> None:
        """Write the entry's very content to a file of this machine, whole or not at all."""
        import obstore.exceptions

        same: Any = {"if_match": entry.tag} if entry.tag else {}
        try:
            with write_draft(path) as draft, self._translate_errors(entry.name), draft.open("wb") as file:
                for start in range(0, entry.size, PIECE_BYTES):
                    piece = (start, min(start + PIECE_BYTES, entry.size))
                    file.write(self._store.get(entry.name, options={**same, "range": piece}).bytes())
        except obstore.exceptions.PreconditionError:
            raise FileNotFoundError(f"{self.shown(entry.name)} is another one by now") from None

    def _read(self, name: str, most_bytes: int | None = None) -> tuple[bytes, Any]:
        """The content, and the condition that it is still that."""
        with self._translate_errors(name):
            found = self._store.get(name)
            size = found.meta["size"]
            if most_bytes is not None and size > most_bytes:
                raise DamagedFileError(f"{self.shown(name)} has {size} bytes, expected at most {most_bytes}")
            return bytes(found.bytes()), _as_it_is(found.meta)

    def _put(self, name: str, content: bytes, *, mode: Any = "overwrite") -> str:
        with self._translate_errors(name):
            return self._store.put(name, content, mode=mode, use_multipart=False)["e_tag"] or ""

    @cached_property
    def _store(self) -> Any:
        store = self._open()
        if self.url not in PROBED_BUCKETS:
            self._probe(store)
            PROBED_BUCKETS.add(self.url)
        return store

    def _open(self) -> Any:
        try:
            from obstore.exceptions import BaseError
            from obstore.store import from_url
        except ImportError:
            raise ValueError(
                f"the store {self.url} is an object store, which needs obstore: pip install 'evergreen-forecast[s3]'"
            ) from None
        seconds = timedelta(seconds=self.timeout_seconds)
        quickly: Any = {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=3), "base": 2.0}
        try:
            return from_url(
                self.url,
                # An endpoint without TLS was named by the user: nothing else leads to one.
                client_options={"timeout": seconds, "connect_timeout": timedelta(seconds=5), "allow_http": True},
                retry_config={"max_retries": 4, "retry_timeout": seconds, "backoff": quickly},
            )
        except BaseError as error:
            raise ValueError(
                f"the store {self.url}: {shorten_error(error)}; expected such as s3://bucket/folder"
            ) from None

    def _probe(self, store: Any) -> None:
        """Have the store refuse two writes that it must refuse.

        Raises:
            ValueError: it does not.
        """
        name = f"probes/{uuid.uuid4().hex}"
        with self._translate_errors(name):
            first = store.put(name, b"1", mode="create", use_multipart=False)
            try:
                store.put(name, b"two", use_multipart=False)
                for mode, condition in (
                    ("create", "that the name is free"),
                    (_as_it_is(first), "that the content is as read"),
                ):
                    if not _refuses(store, name, mode):
                        raise ValueError(self._unsafe(condition))
            finally:
                store.delete(name)

    def _unsafe(self, condition: str) -> str:
        return (
            f"the store {self.url} has no conditional writes: it did not refuse a write on the condition {condition}. "
            "Two promotions at once could both win, so it is not used. Take a store that has them (AWS S3, Google "
            "Cloud Storage, Azure, MinIO, Cloudflare R2), or a folder"
        )

    @contextmanager
    def _translate_errors(self, name: str) -> Iterator[None]:
        """Raise what goes wrong as errors of this project; see `bucket_errors`."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            if type(error).__name__ in CONDITION_ERRORS:
                raise
            raise translate_error(error, url=self.url, name=name, timeout_seconds=self.timeout_seconds) from None


def _as_it_is(meta: Any) -> Any:
    """The condition of a write that nobody has written since; which of the two a store goes by is its own matter."""
    return {name: meta[name] for name in ("e_tag", "version") if meta[name] is not None}


def _refuses(store: Any, name: str, mode: Any) -> bool:
    """Whether a write on a condition that does not hold is refused."""
    from obstore.exceptions import AlreadyExistsError, NotSupportedError, PreconditionError

    try:
        store.put(name, b"3", mode=mode, use_multipart=False)
    except (AlreadyExistsError, PreconditionError):
        return True
    except NotSupportedError:
        return False
    return False


def pause(number: int) -> None:
    """Before another try, so that writers do not keep step."""
    time.sleep(random.random() * 0.02 * 2 ** min(number, 6))
