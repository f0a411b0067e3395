"""Translate errors of an object store into those of this project: one table, from what it says to what to do."""

from __future__ import annotations

from typing import NamedTuple

from lstm_model.contracts.findings import escape_unseen
from lstm_model.contracts.redaction import redact

CONDITION_ERRORS = ("AlreadyExistsError", "PreconditionError", "NotSupportedError")
"""Answers to a write on a condition, which is not an error to tell."""


class Translation(NamedTuple):
    """An error of ours, for foreign ones of some classes or with some text in them."""

    error: type[Exception]
    message: str
    """With `said`, what the store says, and what else `translate_error` knows."""
    classes: tuple[str, ...] = ()
    """By name, since obstore is an extra."""
    texts: tuple[str, ...] = ()


TRANSLATIONS = (
    Translation(
        ValueError,
        "there is no bucket {bucket} for the store {url}: create it, or correct --store",
        texts=("NoSuchBucket", "ContainerNotFound", "bucket does not exist"),
    ),
    Translation(FileNotFoundError, "{url}/{name} does not exist", classes=("FileNotFoundError",)),
    Translation(
        ValueError,
        "the store {url} holds an object that no run has written, and whose name keeps {name} from being listed: "
        "{said}. Remove that object, such as with: aws s3 rm",
        classes=("InvalidPathError",),
    ),
    Translation(
        PermissionError,
        "the store {url} denies access: {said}. Check the credentials in the environment (AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY for s3://), and that they may list, read, write and delete there",
        classes=("PermissionDeniedError", "UnauthenticatedError"),
        texts=("169.254.169.254",),  # where a machine of Amazon's would find credentials
    ),
    Translation(
        TimeoutError,
        "the store {url} does not answer within {timeout_seconds:g} s: {said}",
        texts=("kind: Timeout", "timed out"),
    ),
    Translation(ValueError, "the store {url} refuses: {said}", texts=("status code: 4",)),
    Translation(
        ConnectionError,
        "the store {url} cannot be reached: {said}. Check the network and AWS_ENDPOINT_URL",
        texts=("",),
    ),
)
"""The first that fits counts; the last fits all."""


def translate_error(error: Exception, *, url: str, name: str, timeout_seconds: float) -> Exception:
    """Return the error that a user is told, of a kind that says whether time may heal it.

    Args:
        error: of obstore.
        url: of the store.
        name: of the object in it.
        timeout_seconds: for one request.
    """
    text = str(error)
    row = next(t for t in TRANSLATIONS if type(error).__name__ in t.classes or any(part in text for part in t.texts))
    bucket = url.partition("://")[2].split("/")[0]
    known = {"url": url, "bucket": bucket, "name": name, "timeout_seconds": timeout_seconds}
    return row.error(row.message.format(said=shorten_error(error), **known))


def shorten_error(error: Exception) -> str:
    """Return what obstore says, without the account of its own insides."""
    text = redact(str(error))  # the environment may hold a proxy or an endpoint with a password
    text = escape_unseen(" ".join(text.partition("Debug source")[0].partition("<?xml")[0].split()))
    return text.rstrip(": .")
