"""Names that try to be more than a name, in the documents and the log."""

import logging
import re

import pytest

from lstm_model.contracts.findings import Finding, escape_unseen
from lstm_model.reporting.markdown import escape_markdown
from lstm_model.reporting.report import Report, render_html, render_markdown

HOSTILE = "a\x1b[31m\x00\u202etxt.exe\u2066\nERROR: b <script>alert(1)</script> [x](javascript:1) | `c`"


@pytest.mark.parametrize("render", [render_html, render_markdown])
def test_a_hostile_name_is_shown_and_does_nothing(render):
    finding = Finding(code="x", severity="warning", message=f"series {HOSTILE}", unique_id=HOSTILE)
    text = render(Report(name=HOSTILE, scores=None, findings=[finding], data=[(HOSTILE, HOSTILE)]))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", text)
    assert "<script" not in text and "\nERROR" not in text
    assert "u202etxt.exe" in text and "x1b" in text


def test_markdown_has_no_link_of_a_name():
    assert escape_markdown(HOSTILE).endswith("\\[x\\](javascript:1) \\| \\`c\\`")


def test_what_is_harmless_stays():
    assert escape_unseen("Zürich 東京 עברית 👩‍💻 a\\n") == "Zürich 東京 עברית 👩‍💻 a\\n"


def test_a_name_begins_no_line_of_the_log(caplog):
    from tasks.runtime.logs import forwarded_logs

    with caplog.at_level(logging.INFO), forwarded_logs("lstm_model"):
        logging.getLogger("lstm_model.x").warning("series %s is late", "a\nINFO all is well\x1b[2J")
    assert "series a\\nINFO all is well\\x1b[2J is late" in caplog.messages
