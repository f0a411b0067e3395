"""Describe what the data doctor finds: errors that stop a run, findings that are reported."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Where = Callable[[int], str]
"""Names the place of a row (counted from 0) for a message, such as "row 17 of load.csv"."""


class DataError(ValueError):
    """The data cannot be used as it is; the message says where, what was received, what was expected, and the fix."""


class NothingLeftError(DataError):
    """Every series would be left out: an error, unless it is of a shard alone."""

    def __init__(self, message: str, *, code: str, count: int) -> None:
        super().__init__(message)
        self.finding = Finding(code=code, severity="warning", message=message, count=count)


class ManyDataError(DataError):
    """Several things that are wrong with the data, independent of each other."""

    def __init__(self, messages: Sequence[str]) -> None:
        self.messages = tuple(messages)
        lines = [f"\n  {count}. {text}" for count, text in enumerate(messages, start=1)]
        super().__init__(f"{len(messages)} things are wrong with the data:{''.join(lines)}")


class ErrorCollector:
    """Collects what is wrong, so that a user learns all of it at once rather than one thing a run."""

    def __init__(self) -> None:
        self.found: list[DataError] = []

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Keep an error about the data that the block raises, and go on after it."""
        try:
            yield
        except DataError as error:
            self.found.append(error)

    def raise_found(self) -> None:
        """Raise what was collected: a single error as it is, several as one.

        Raises:
            DataError: something was collected.
        """
        if len(self.found) > 1:
            raise ManyDataError([text for error in self.found for text in list_messages(error)])
        if self.found:
            raise self.found[0]


def list_messages(error: Exception) -> tuple[str, ...]:
    """Return the message of an error, or each of several."""
    return error.messages if isinstance(error, ManyDataError) else (str(error),)


class Finding(BaseModel):
    """One thing noticed, aggregated over the whole panel; `unique_id` is the worst example and `count` the total."""

    model_config = ConfigDict(frozen=True)

    code: str
    severity: Literal["info", "repair", "warning"]
    message: str
    unique_id: str | None = None
    count: int = 1


UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Control characters, ends of lines, and characters that turn the direction in which text is shown."""


def escape_unseen(text: str) -> str:
    """Return text on one line that shows what it is: a name cannot begin a line of its own, or hide or reverse text."""
    return UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def listed(names: Iterable[Any], *, limit: int = 8) -> str:
    """Names for a message; a long list is cut so that 10,000 series do not fill the screen."""
    texts = [str(name) for name in names]
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return ", ".join(texts[:limit]) + more


def number(count: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun: 1 row, 1,344 rows."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def left_out_notes(shards: Iterable[Mapping[str, list[str]]]) -> list[str]:
    """A note for each reason why series were not forecast, over all shards."""
    together: dict[str, list[str]] = {}
    for left_out in shards:
        for why, ids in left_out.items():
            together.setdefault(why, []).extend(ids)
    return [f"{len(ids):,} series not forecast, {why}: {listed(ids)}" for why, ids in together.items()]


def unknown_columns(missing: Sequence[str], existing: Iterable[Any], setting: str) -> DataError:
    """The error for declared columns that the data lacks, with what exists and the nearest names."""
    names = [str(name) for name in existing]
    near = sorted({match for name in missing for match in get_close_matches(name, names, n=2)})
    hint = f" Did you mean {listed(near)}?" if near else ""
    noun = "column" if len(missing) == 1 else "columns"
    return DataError(
        f"{setting} names the {noun} {listed(missing)}, but the data has: {listed(names, limit=20)}.{hint}"
    )
