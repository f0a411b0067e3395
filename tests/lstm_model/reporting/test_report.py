"""The report says the verdict first, holds everything itself, and shows hostile text as text."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt

from lstm_model.contracts.clock import Clock
from lstm_model.contracts.decision import Check, Decision, Verdict
from lstm_model.contracts.findings import Finding
from lstm_model.contracts.forecast_columns import name_bounds
from lstm_model.evaluation.baselines import BASELINES
from lstm_model.evaluation.evaluate import score
from lstm_model.evaluation.scores import Scores
from lstm_model.reporting.markdown import PUBLISHED
from lstm_model.reporting.report import (
    CAPTIONS,
    WORST_SERIES,
    Picture,
    Report,
    Setting,
    escape_markdown,
    format_number,
    make_picture,
    render_html,
    render_markdown,
)

HOSTILE = '<script>alert(1)</script> | `x` ![i](http://evil.example/p.png) "q" **b**\n\n# h'


def make_scores(ids: list[str], error: float = 0.5) -> Scores:
    rng = np.random.default_rng(0)
    size = 8
    table = pd.DataFrame(
        {"unique_id": np.repeat(ids, size), "cutoff": 0, "step": np.tile(np.arange(1, size + 1), len(ids))}
    )
    table["ds"] = table["step"]
    table["y"] = 10 + rng.normal(size=len(table))
    table["lstm"] = table["y"] + error * (1 + 0.01 * np.repeat(np.arange(len(ids)), size))
    low, high = name_bounds(0.8)
    table[low], table[high] = table["lstm"] - 1, table["lstm"] + 1
    for name in BASELINES:
        table[name] = table["y"] + 1
    return score(table, scale=pd.DataFrame({"unique_id": ids, "mase_scale": 1.0, "rmsse_scale": 1.0}))


def make_report(ids: list[str] | None = None, text: str = "plain", error: float = 0.5, num_pictures: int = 3) -> Report:
    return Report(
        name=text,
        scores=make_scores(ids or ["a", "b", "c"], error),
        settings=[Setting(text, text, text), Setting("context", "168", "a week")],
        data=[(text, text), ("series", "3")],
        num_values=1000,
        num_repaired=31,
        findings=[Finding(code="gap", severity="repair", message=text, unique_id=text, count=31)],
        pictures=[Picture(f"{text} {i}", text, bytes([i]) * 3000) for i in range(num_pictures)],
        run=[("device", text)],
    )


class Page(HTMLParser):
    """The elements, attributes and text of a page; fails on an element that is closed out of turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "img", "br", "hr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text.append(data)


def test_html_is_whole_and_needs_nothing_else() -> None:
    page = Page(render_html(make_report()))
    assert page.tags.count("img") == 3
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    for name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "href"):
            assert str(value).startswith("data:image/png;base64,")
    assert "http" not in render_html(make_report())


def test_the_verdict_comes_first_and_in_words() -> None:
    losing = make_report(error=2.0)
    text = [part.strip() for part in Page(render_html(losing)).text if part.strip()]
    assert text[2].startswith("The LSTM loses to seasonal naive: MASE")
    assert 'class="verdict bad"' in render_html(losing)
    assert render_markdown(losing).splitlines()[2].startswith("**The LSTM loses to seasonal naive: MASE")
    assert 'class="verdict bad"' in render_html(make_report(error=1.0)), "a tie is no win"
    assert 'class="verdict good"' in render_html(make_report(error=0.5))


@pytest.mark.parametrize("render", [render_html, render_markdown])
def test_every_part_is_there(render) -> None:  # type: ignore[no-untyped-def]
    text = render(make_report())
    for part in (
        "seasonal naive",
        "window average",
        "168",
        "a week",
        "31 of 1,000 values (3.1%)",
    ):
        assert part in text, part
    order = [text.index(title) for title in ("Scores", "Plots", "Series", "Data", "What was trained", "The training")]
    assert order == sorted(order)


def test_hostile_text_stays_text_in_html() -> None:
    report = make_report(ids=[HOSTILE, "b"], text=HOSTILE)
    page = Page(render_html(report))
    plain = Page(render_html(make_report(ids=["a", "b"])))
    assert page.tags == plain.tags
    assert "<script>alert(1)</script>" in "".join(page.text)


def test_hostile_text_stays_text_in_markdown() -> None:
    report = make_report(ids=[HOSTILE, "b"], text=HOSTILE)
    text, plain = render_markdown(report), render_markdown(make_report(ids=["a", "b"]))
    assert "<script" not in text
    assert text.count("\n") == plain.count("\n")
    bars = r"(?<!\\)\|"
    for line, expected in zip(text.splitlines(), plain.splitlines(), strict=True):
        assert len(re.findall(bars, line)) == len(re.findall(bars, expected)), line[:200]
        assert len(re.findall(r"(?<!\\)!\[", line)) == len(re.findall(r"(?<!\\)!\[", expected)), line[:200]


def test_a_markdown_renderer_makes_nothing_of_hostile_text() -> None:
    renderer = MarkdownIt("gfm-like", {"linkify": False})
    hostile = Page(renderer.render(render_markdown(make_report(ids=[HOSTILE, "b"], text=HOSTILE))))
    plain = Page(renderer.render(render_markdown(make_report(ids=["a", "b"]))))
    assert hostile.tags == plain.tags
    assert all(str(value).startswith("data:") for name, value in hostile.attributes if name == "src")
    assert "<script>alert(1)</script> | `x` ![i](http://evil" in "".join(hostile.text)


def test_markdown_tables_are_regular() -> None:
    lines = [line for line in render_markdown(make_report()).splitlines() if line.startswith("|")]
    widths = [line.rstrip().count("|") for line in lines]
    heads = [i for i, line in enumerate(lines) if "---" in line]
    assert len(heads) == 5
    for i in heads:
        assert widths[i] == widths[i - 1]


def test_escaping_leaves_plain_words_alone() -> None:
    assert escape_markdown("MASE 1.193, 80% (h-24)") == "MASE 1.193, 80% (h-24)"
    assert escape_markdown("a_b|c\nd") == r"a\_b\|c d"


def test_markdown_keeps_its_size_and_says_what_it_left_out() -> None:
    report = make_report(num_pictures=6)
    whole = render_markdown(report)
    assert whole.count("](data:image/png;base64,") == 6
    assert "Left out" not in whole
    limit = len(whole.encode()) - 3000
    short = render_markdown(report, limit_bytes=limit)
    assert len(short.encode()) <= limit
    assert short.count("](data:image/png;base64,") == 5
    assert "Left out to keep this page small: plain 5. The HTML report" in short
    assert "plain 0" in short, "the last go first"
    bare = render_markdown(report, limit_bytes=len(whole.encode()) - 6 * 4000)
    assert bare.count("](data:image/png;base64,") == 0
    with pytest.raises(ValueError, match="text alone"):
        render_markdown(report, limit_bytes=500)


def test_long_lists_are_cut_and_say_so() -> None:
    report = make_report(ids=[f"s{i:03d}" for i in range(60)])
    many = [Finding(code="x", severity="warning", message=f"finding {i}") for i in range(80)]
    text = render_markdown(replace(report, findings=many))
    assert f"The {WORST_SERIES} worst of 60 series" in text
    assert "s059" in text and "s039" not in text
    assert "finding 49" in text and "finding 50" not in text and "and 30 more" in text


def test_a_bare_report_renders() -> None:
    bare = Report(name="x", scores=make_scores(["a"]))
    for text in (render_html(bare), render_markdown(bare)):
        assert "What was trained" not in text and "Plots" not in text and "This run" not in text
        assert "Nothing else was found" in text


def test_a_model_that_was_not_evaluated_says_so_at_the_top() -> None:
    report = replace(make_report(), scores=None)
    page, text = render_html(report), render_markdown(report)
    Page(page)
    assert 'class="verdict mixed">This model has not been evaluated' in page
    assert text.splitlines()[2].startswith("**This model has not been evaluated")
    for rendered in (page, text):
        assert "MASE" not in rendered and "a week" in rendered


def test_the_same_report_gives_the_same_bytes() -> None:
    assert render_html(make_report()) == render_html(make_report())


def test_notes_on_what_was_left_out_are_shown() -> None:
    report = make_report()
    noted = replace(report, scores=replace(report.scores, notes=["2 series have no observed target"]))
    assert "2 series have no observed target" in render_html(noted)
    assert "2 series have no observed target" in render_markdown(noted)


def test_every_plot_has_a_caption() -> None:
    for name, (title, caption) in CAPTIONS.items():
        assert make_picture(name, b"x").title == title
        assert len(caption) < 300
    with pytest.raises(ValueError, match="'pie'"):
        make_picture("pie", b"x")


def test_numbers_to_read() -> None:
    values = [float("nan"), 0.0, 0.12345, 12.0, 123.456, 1234.5, 4.2e9, 3e-6]
    assert [format_number(v) for v in values] == [
        "–",
        "0.000",
        "0.123",
        "12.00",
        "123.5",
        "1,234",
        "4.200e+09",
        "3.000e-06",
    ]


def decide(verdict: Verdict, *, share: float = 0.8, passed: bool = True) -> Decision:
    flaw = "TOO NARROW" if share < 0.75 else ""
    check = Check(name="coverage", passed=passed, detail=f"{share:.1%} at 80%", flaw=flaw)
    warnings = (f"coverage is {flaw}: {check.detail}",) if flaw else ()
    return Decision(verdict=verdict, summary=f"Decided to {verdict}.", checks=(check,), warnings=warnings)


def test_the_targets_of_a_decision_are_told_in_the_clock_of_the_source() -> None:
    ends = {"first_target": "2024-07-01 22:00:00", "last_target": "2024-07-03 21:00:00"}
    decision = decide("promote").model_copy(update=ends)
    for clock, shown in ((Clock(zone="Europe/Berlin", aware=False), "2024-07-02 to 2024-07-03 23:00"), (None, "22:00")):
        report = replace(make_report(), decision=decision, clock=clock)
        assert shown in render_html(report) and shown in render_markdown(report).replace("\\", "")
    bare = replace(make_report(), decision=decide("promote"))
    assert "None" not in render_html(bare).partition("Scaled error")[2].partition("</p>")[0]


def test_a_rejected_challenger_does_not_open_in_green() -> None:
    for verdict, tone in (("reject", "bad"), ("defer", "mixed"), ("promote", "good")):
        report = replace(make_report(error=0.5), decision=decide(verdict))
        page, opening = render_html(report), render_markdown(report).splitlines()[2]
        assert f'class="verdict {tone}"' in page
        text = [part.strip() for part in Page(page).text if part.strip()]
        assert text[2].startswith("The LSTM beats" if verdict == "promote" else f"Decided to {verdict}.")
        assert opening.startswith("**The LSTM beats" if verdict == "promote" else f"**Decided to {verdict}.")


def test_intervals_that_cover_too_little_are_red_although_they_pass() -> None:
    report = replace(make_report(error=0.5), decision=decide("promote", share=0.72))
    page = render_html(report)
    assert '<td class="flaw">TOO NARROW</td>' in page and "<td>passed</td>" not in page
    assert 'class="verdict mixed"' in page and "coverage is TOO NARROW: 72.0% at 80%" in page
    assert "| coverage | **TOO NARROW** |" in render_markdown(report)
    assert 'class="number flaw">100.0%' in page, "too wide is a flaw too"


def test_the_report_names_what_it_is_of() -> None:
    report = replace(make_report(), about=[("bundle", "abc123"), ("data", "sales.csv")])
    assert "<dt>bundle</dt><dd>abc123</dd>" in render_html(report)
    assert "bundle: abc123" in render_markdown(report) and PUBLISHED in render_html(report)
