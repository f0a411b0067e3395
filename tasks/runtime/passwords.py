"""Read passwords from the environment or a Prefect Secret block, at the moment when they are needed."""

from __future__ import annotations

import os

from lstm_model.contracts.settings import Source


def password_of(source: Source) -> str | None:
    """The password of the source, see `read_password`."""
    return read_password(source.password_from, setting="source.password_from")


def read_password(place: str | None, *, setting: str) -> str | None:
    """A password, read when it is needed and handed on to nothing but the connection.

    Args:
        place: env:NAME or secret:NAME; None where there is none.
        setting: what the config calls it, for the message.

    Raises:
        ValueError: the environment variable is not set; a Prefect Secret that is missing says so itself.
    """
    if place is None:
        return None
    where, name = place.split(":", 1)
    if where == "secret":
        from prefect.blocks.system import Secret  # takes seconds, and env: needs none of it

        return str(Secret.load(name, _sync=True).get())  # type: ignore[union-attr, call-arg]
    try:
        return os.environ[name]
    except KeyError:
        raise ValueError(
            f"{setting} is env:{name}, but the environment variable {name} is not set where the flow runs"
        ) from None
