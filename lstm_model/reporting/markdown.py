"""Escape text for Markdown, and for the reader's eye in any document."""

from __future__ import annotations

import html
import re
from typing import Any

from markupsafe import Markup

from lstm_model.contracts.findings import escape_unseen

PUBLISHED = "<!--published-->"
"""Stands in a report, whose bytes do not depend on the clock, where its date is put when it is published."""


def show_on_one_line(value: Any) -> Any:
    """Return text whose white space is single blanks and whose other unseen characters are escaped; Markup as it is."""
    return value if isinstance(value, Markup) else escape_unseen(" ".join(str(value).split()))


def escape_markdown(value: Any) -> str:
    """Return text that Markdown shows as it is, on one line: also in a table, and without making HTML of it."""
    if isinstance(value, Markup):
        return str(value)
    text = html.escape(show_on_one_line(value), quote=False)
    return re.sub(r"([\\`*_{}\[\]#|~!])", r"\\\1", text)
