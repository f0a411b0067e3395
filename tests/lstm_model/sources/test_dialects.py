"""One known table, written in many dialects, is read back right, or asked about; never read wrong."""

import itertools
import random
from collections import Counter

import numpy as np
import pandas as pd

from lstm_model.contracts.findings import DataError
from lstm_model.contracts.settings import Covariates, Source
from lstm_model.sources.raw_series import read_source

DAILY = {
    "%Y-%m-%d", "%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%Y", "%y-%m-%d",
    "%y/%m/%d", "%Y/%m/%d", "%Y%m%d", "%d%m%Y", "%y%m%d", "%d %b %Y", "%b %d, %Y", "%d-%b-%y", "%d%b%Y", "%Y-%j",
    "%Y%j", "%A, %d %B %Y", "%G-W%V-%u", "excel",
}  # fmt: skip
MONTHLY = {
    "%Y-%m",
    "%Y/%m",
    "%m/%Y",
    "%m.%Y",
    "%b-%y",
    "%y-%b",
    "%b %Y",
    "%Y %B",
    "%Y%m",
    "%YM%m",
    "%m/%y",
    "%Y.%m",
    "%b%Y",
}
HOURLY = {
    "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%y %H:%M", "%m/%d/%Y %I:%M %p", "%d/%m/%Y %H:%M",
    "%Y%m%d%H", "%Y%m%d%H%M", "%Y%m%d %H:%M", "%d.%m.%Y %H.%M", "%d.%m.%Y, %H Uhr", "%d/%b/%Y:%H:%M:%S", "%y%m%d %H:%M",
    "%m/%d/%y %H:%M", "interval", "hour ending",
}  # fmt: skip
FORMS = [(form, step) for forms, step in ((DAILY, "D"), (MONTHLY, "MS"), (HOURLY, "h")) for form in sorted(forms)]
NUMBERS = (
    "1234.5",
    "1234,5",
    "1,234.5",
    "1.234,5",
    "1 234,5",
    "1\u202f234,5",
    "1'234.5",
    "1.234",
    "1,234",
    "$1,234.5",
    "1.234,5 €",
)
LAYOUTS = ("long", "wide_columns", "wide_rows")
EXCEL = pd.Timestamp("1899-12-30")


def write_date(stamp, form):
    if form == "excel":
        return str((stamp - EXCEL).days)
    if form == "interval":
        return f"{stamp:%d.%m.%Y %H:%M} - {stamp + pd.Timedelta(hours=1):%d.%m.%Y %H:%M}"
    if form == "hour ending":  # 24:00 is the midnight after the day
        before = stamp - pd.Timedelta(hours=1)
        return f"{before:%Y-%m-%d} {before.hour + 1:02}:00"
    return f"{stamp:{form}}"


def write_number(value, form):
    whole = form in ("1.234", "1,234")
    text = f"{value:,.0f}" if whole else f"{value:,.1f}"
    body = form.strip("$€ ")
    group = body[1] if not body[1].isdigit() else ""
    point = "." if whole else body[-2]
    text = text.replace(",", "\0").replace(".", point).replace("\0", group)
    return form.replace(body, text)


def write_table(truth, form, numbers, layout, separator):
    """Return a file of three series with these dialects; `truth` has a column a series."""
    dates = [write_date(stamp, form) for stamp in truth.index]
    cells = truth.map(lambda value: write_number(value, numbers))

    def quote(text):
        return f'"{text}"' if separator in text else text

    if layout == "long":
        rows = [["series", "date", "y"]]
        rows += [[name, date, cell] for name in truth for date, cell in zip(dates, cells[name], strict=True)]
    elif layout == "wide_columns":
        rows = [["date", *truth], *([date, *cells.iloc[i]] for i, date in enumerate(dates))]
    else:
        rows = [["series", *dates], *([name, *cells[name]] for name in truth)]
    return "\n".join(separator.join(map(quote, row)) for row in rows) + "\n"


def draw_dialects(count):
    drawn = list(itertools.product(FORMS, NUMBERS, LAYOUTS, ",;\t"))
    return random.Random(16).sample(drawn, count)


def test_many_dialects_are_read_right_or_asked_about(tmp_path):
    generator = np.random.default_rng(16)
    seen = Counter()
    wrong = []
    for number, ((form, step), numbers, layout, separator) in enumerate(draw_dialects(120)):
        start = pd.Timestamp(generator.choice(["1987-03-01", "2001-11-01", "2019-08-01", "2023-12-01"]))
        most = 40 if layout == "wide_rows" else 130
        index = pd.date_range(start, periods=int(generator.choice([14, 40, most])), freq=step)
        whole = numbers in ("1.234", "1,234")
        level = generator.choice([5.0, 400.0, 990.0, 40_000.0])
        values = np.round(level * (1 + 0.2 * generator.random((len(index), 3))), 0 if whole else 1)
        truth = pd.DataFrame(values, index=index, columns=["north", "south", "west"])
        path = tmp_path / f"{number}.csv"
        path.write_text(write_table(truth, form, numbers, layout, separator), encoding="utf-8")
        dialect = (form, str(start.date()), len(index), numbers, layout, separator)
        try:
            table = read_source(Source(kind="files", path=str(path)), covariates=Covariates()).table
        except DataError as error:
            seen["asked"] += 1
            assert len(str(error)) > 40, dialect
            continue
        wide = table.pivot_table(index="ds", columns="unique_id", values="y")
        same = (
            wide.shape == truth.shape and list(wide.index) == list(truth.index) and np.allclose(wide, truth, rtol=1e-12)
        )
        seen["right" if same else "wrong"] += 1
        if not same:
            wrong.append(
                (dialect, path.read_text(encoding="utf-8")[:150], list(wide.index[:2]), wide.iloc[:1].to_numpy())
            )
    assert not wrong, f"{len(wrong)} of {seen}: {wrong[:3]}"
    assert seen["right"] > 0.8 * seen.total(), seen
