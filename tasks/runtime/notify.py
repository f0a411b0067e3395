"""Notify a person through the block of Prefect (Slack, Teams, any webhook) that the config names."""

from __future__ import annotations

import re
from typing import Any

from prefect.blocks.core import Block
from pydantic import ValidationError

from lstm_model.contracts.redaction import redact
from lstm_model.contracts.settings import BLOCK_NAME
from tasks.runtime.logs import find_logger


def tell(notify: str | None, subject: str, body: str) -> None:
    """Send a message; never raises, since what is told must not be hidden by a failure to tell it.

    Args:
        notify: the block that a person saved in Prefect, as type/name, such as slack-webhook/forecasts. None: nobody.
        subject: one line.
        body: the rest, as plain text.
    """
    if notify is None:
        return
    if not re.fullmatch(BLOCK_NAME, notify):
        _warn("the block", subject, "its name is not of the form type/name; a webhook's address belongs into a block")
        return
    try:
        block = _load(notify)
    except Exception as error:
        _warn(notify, subject, type(error).__name__ + ("" if _shows_block(error) else f": {redact(str(error))}"))
        return
    try:
        with block.raise_on_failure():
            block.notify(body, subject, _sync=True)
    except Exception as error:  # its text is not shown: it holds the webhook's address, which is a secret
        status = getattr(getattr(error, "response", None), "status_code", "")
        _warn(notify, subject, f"{type(error).__name__} {status}".rstrip())


def _shows_block(error: BaseException) -> bool:
    """Tell whether an error shows what a block holds, and so the address of a webhook."""
    return isinstance(error, ValidationError)


def _load(notify: str) -> Any:
    from prefect.blocks import notifications  # noqa: F401  a block can be loaded only once its class is known

    return Block.load(notify, _sync=True)  # type: ignore[call-arg]


def _warn(notify: str, subject: str, reason: str) -> None:
    find_logger().warning("not told through %s: %s (%s)", notify, subject, reason)
