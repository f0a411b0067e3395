"""Write files and folders under temporary names, rename them once whole, and sweep what killed writers left."""

from __future__ import annotations

import errno
import logging
import os
import platform
import re
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from hashlib import sha256
from io import BufferedReader
from pathlib import Path

from filelock import FileLock, Timeout, lock_descriptor

from lstm_model.storage.checksums import DamagedFileError

logger = logging.getLogger(__name__)

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

DRAFT = r"\..+\.\w+(-\d+)?-[0-9a-f]{8,16}"
"""Names of files that were being written; with a process id as older versions named them."""
SAFELY = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
"""How to open what may be a pipe: it would wait for a writer."""
UNLED = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
"""How to write what may be a pipe without a reader, or a link that leads out of the store."""
NO_FILES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFLNK: "a link that leads to no file",
}
"""What may lie in a file's place, for a person."""
HOLDER = ".txt"
"""Ending of the file that says who holds a lock."""
HOLDER_BYTES = 100

STALE_SECONDS = 24 * 3600.0
"""A draft of another machine, or of before a restart, goes when nothing in it has changed for so long."""
WAIT_SECONDS = 2 * 24 * 3600.0
"""No stage computes for longer than a training, which may take a day."""
TELL_SECONDS = 1.0, 300.0
"""When a wait for a lock is told first, and how often from then on."""


def _identify_machine() -> str:
    """Return what all processes under one kernel share, those in containers too: their locks exclude each other."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")[:12]
    except OSError:
        return re.sub("[^A-Za-z0-9]", "", platform.node()) or "machine"


MACHINE = _identify_machine()
"""In the names of drafts: only here does a lock tell whether the writer of a draft lives."""


@contextmanager
def write_draft(path: Path) -> Iterator[Path]:
    """Give a file beside `path` to write, which replaces it at the end: readers see the old content or the new one.

    The file is to be filled as it is, not replaced: a lock on it keeps `sweep` away.
    """
    make_folder(path.parent)
    draft, lock = _begin_draft(lambda: path.with_name(f".{path.name}.{name_draft()}"), lambda file: file.touch())
    try:
        with name_full_disk(path):
            yield draft
            draft.replace(path)
    except IsADirectoryError:
        raise IsADirectoryError(f"{path} is a folder, expected a file; move it away and run again") from None
    finally:
        draft.unlink(missing_ok=True)
        _close(lock)


def name_draft() -> str:
    """Return the end of a draft's name."""
    return f"{MACHINE}-{uuid.uuid4().hex[:16]}"


def _begin_draft(name: Callable[[], Path], create: Callable[[Path], None]) -> tuple[Path, int | None]:
    """Create a draft and hold a lock on it; a `sweep` may come between and remove it, and then the next one counts."""
    while True:
        draft = name()
        create(draft)
        lock = _lock(draft, blocking=True)
        if draft.exists():
            return draft, lock
        _close(lock)


def _lock(draft: Path, *, blocking: bool) -> int | None:
    """Lock a file or folder until the descriptor is closed; None where the disk knows no locks.

    Raises:
        BlockingIOError: another process holds it, and `blocking` is False.
    """
    descriptor = None
    try:
        descriptor = os.open(draft, SAFELY)
        if not lock_descriptor(descriptor, blocking=blocking):
            raise BlockingIOError
    except BlockingIOError:
        _close(descriptor)
        raise
    except OSError:
        _close(descriptor)
        return None
    return descriptor


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def write_atomically(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Write so that readers see the old content or the new one; `durable`: after a power cut too."""
    with write_draft(path) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        if durable:
            flush(draft)
    if durable:
        flush(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless it is there.

    Raises:
        NotADirectoryError: something else is in its place, such as a link to a disk that is not mounted.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise NotADirectoryError(f"{path} is no folder, or is in none; move away what is in its place") from None


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading that somebody else may have put there: a pipe would wait for a writer.

    Raises:
        FileNotFoundError: there is nothing.
        DamagedFileError: there is something, but no regular file.
    """
    try:
        descriptor = os.open(path, SAFELY)
    except OSError as error:
        leads_nowhere = error.errno == errno.ENOENT and path.is_symlink()
        if leads_nowhere or error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise _describe_no_file(path) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _describe_no_file(path)
    return os.fdopen(descriptor, "rb")


def _describe_no_file(path: Path) -> DamagedFileError:
    kind = NO_FILES.get(stat.S_IFMT(path.lstat().st_mode), "a device")
    return DamagedFileError(f"{path} is {kind}, expected a regular file")


def read_bounded(path: Path, most_bytes: int | None = None) -> bytes:
    """Read a regular file that somebody else may have put there, and that must not fill the memory.

    Raises:
        FileNotFoundError: there is nothing.
        DamagedFileError: it is longer, or no regular file.
    """
    with open_regular(path) as file:
        content = file.read(-1 if most_bytes is None else most_bytes + 1)
    if most_bytes is not None and len(content) > most_bytes:
        raise DamagedFileError(f"{path} has more than {most_bytes} bytes")
    return content


def remove_path(path: Path) -> None:
    """Remove a file, or what is in its place, if it is there; of a link only itself."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Wait until the disk holds a file's bytes, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def name_full_disk(path: Path) -> Iterator[None]:
    """Name the path in an error of a full disk: Arrow, safetensors and the system itself leave it out.

    Raises:
        OSError: the disk, its quota or the largest size of a file is reached.
    """
    try:
        yield
    except Exception as error:  # safetensors has an error of its own
        full = next((code for code in FULL if getattr(error, "errno", 0) == code or os.strerror(code) in str(error)), 0)
        if full and "make room" not in str(error):
            raise OSError(full, f"cannot write {path}: {os.strerror(full)}; make room and run again") from error
        raise


@contextmanager
def make_scratch(root: Path, what: str) -> Iterator[Path]:
    """Make a folder on a store's disk that goes at the end, or in a later `sweep` if this process is killed."""
    with name_full_disk(root / "tmp" / what):
        folder, lock = _begin_draft(lambda: root / "tmp" / f"{what}-{name_draft()}", lambda folder: make_folder(folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            _close(lock)


def sweep(root: Path) -> None:
    """Remove what killed writers left behind, in subfolders too; what a living one is writing stays.

    Of a writer under this kernel the lock tells whether it lives, of any other only the age of the draft.
    """
    for draft in _find_drafts(root):
        with suppress(FileNotFoundError, BlockingIOError):
            is_stale = _newest_change(draft) < time.time() - STALE_SECONDS
            lock = _lock(draft, blocking=False)
            if is_stale or (lock is not None and f"{MACHINE}-" in draft.name):
                if draft.is_dir() and not draft.is_symlink():
                    shutil.rmtree(draft, ignore_errors=True)
                else:
                    draft.unlink(missing_ok=True)
            _close(lock)


def _find_drafts(root: Path) -> Iterator[Path]:
    """All drafts of a store; none is inside an artifact."""
    for folder, folders, files in os.walk(root):
        if Path(folder) == root:
            yield from (root / "tmp").glob("*")
            folders[:] = [name for name in folders if name not in ("artifacts", "tmp", "locks")]
        yield from (Path(folder, file) for file in files if file[0] == "." and re.fullmatch(DRAFT, file))


def _newest_change(draft: Path) -> float:
    inside = [] if draft.is_symlink() else list(draft.rglob("*"))
    return max(path.lstat().st_mtime for path in (draft, *inside))


@contextmanager
def hold_lock(
    root: Path, name: str, *, on_wait: Callable[[str], None] = logger.info, wait_seconds: float = WAIT_SECONDS
) -> Iterator[None]:
    """Hold a lock across processes; the operating system frees it when its holder dies.

    Args:
        root: of the store.
        name: of the lock.
        on_wait: is told whom this process waits for and for how long, after a second and then every few minutes.
        wait_seconds: at most.

    Raises:
        TimeoutError: another process has held it all the time; the message says which.
    """
    folder = root / "locks"
    make_folder(folder)
    file = folder / f"{sha256(name.encode()).hexdigest()[:32]}.lock"
    lock = FileLock(file)
    began, (pause, again) = time.monotonic(), TELL_SECONDS
    while not lock.is_locked:
        try:
            lock.acquire(timeout=max(0.0, min(pause, began + wait_seconds - time.monotonic())))
        except Timeout:
            waited, pause = time.monotonic() - began, again
            told = f"waited {waited:.0f} s for {_read_holder(file)}"
            if waited >= wait_seconds:
                raise TimeoutError(f"{told}; end that process if it hangs, and run again") from None
            on_wait(told)
    try:
        _note_holder(file)
        yield
    finally:
        lock.release()


def _note_holder(file: Path) -> None:
    """Say beside the lock who holds it, over the text before: to empty the file first takes 10 ms on ext4."""
    text = f"process {os.getpid()} on {platform.node()}".encode().ljust(HOLDER_BYTES)[:HOLDER_BYTES]
    with (
        suppress(OSError),  # a full disk: nobody but a person reads it
        os.fdopen(os.open(file.with_suffix(HOLDER), os.O_WRONLY | os.O_CREAT | UNLED, 0o644), "wb") as note,
    ):
        note.write(text)


def _read_holder(file: Path) -> str:
    """Return who holds a lock and since when, for a person."""
    note = file.with_suffix(HOLDER)
    try:
        since = datetime.fromtimestamp(note.stat().st_mtime, UTC)
        return f"{note.read_text(errors='replace').strip()}, which has held {file} since {since:%Y-%m-%d %H:%M:%S} UTC"
    except OSError:
        return f"the process that holds {file}"


def drop_locks(root: Path, youngest: float) -> None:
    """Remove the files of locks that nobody has taken since and nobody holds: one is made for every key."""
    for file in (root / "locks").glob("*.lock"):
        with suppress(Timeout, FileNotFoundError):
            if file.stat().st_mtime < youngest:
                with FileLock(file, timeout=0):
                    file.with_suffix(HOLDER).unlink(missing_ok=True)
                    file.unlink(missing_ok=True)
