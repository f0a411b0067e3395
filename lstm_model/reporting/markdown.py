"""Escape text for Markdown."""

from __future__ import annotations

import html
import re
from typing import Any

from markupsafe import Markup


def escape_markdown(value: Any) -> str:
    """Return text that Markdown shows as it is, on one line: also in a table, and without making HTML of it."""
    if isinstance(value, Markup):
        return str(value)
    text = html.escape(" ".join(str(value).split()), quote=False)
    return re.sub(r"([\\`*_{}\[\]#|~!])", r"\\\1", text)
