"""One known table, written in hundreds of dialects, is read back right or asked about: never read wrong."""

import csv
import io
import random

import numpy as np
import pandas as pd

from lstm_model.contracts.findings import DataError
from lstm_model.contracts.settings import Covariates, Source
from lstm_model.sources.raw_series import read_source

SEPARATORS = [",", ";", "\t", "|"]
ENCODINGS = ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be"]
PREAMBLES = {
    "none": [],
    "text": [["Lastgang 2023"], ["erstellt am 01.02.2023"], []],
    "padded": [["Lastgang 2023"], ["Kunde", "4711"]],
    "comments": [["# station 12"], ["# unit: MW"]],
    "directive": [["sep="]],
    "date": [["Report"], ["from", "2023-01-01"], []],
}
FOOTERS = {
    "none": [],
    "blank": [[""], []],
    "note": [[], ["Source: office"]],
    "long note": [["Quelle: Amt, Abteilung 7; Stand 2023, alle Angaben; ohne|Gewähr\tx"]],
    "total": [["Total"]],
    "total and note": [["Summe"], ["* provisional"]],
}
N = 150
LAYOUTS = ["long", "one", "wide"]
QUOTING = {"minimal": csv.QUOTE_MINIMAL, "all": csv.QUOTE_ALL, "texts": csv.QUOTE_NONNUMERIC}
UNITS = [False, True]
INDEX = ["none", "unnamed"]
ENDS = ["\n", "\r\n"]
TRAILING = [False, True]
HEADERS = [True, True, True, False]


def make_truth(layout, rng):
    names = {"long": ["Süd", "Nord"], "one": ["d"], "wide": ["Süd, MW", "Nord; MW", "Ost|x"]}[layout]
    times = pd.date_range("2023-01-01", periods=30, freq=rng.choice(["h", "D"]))
    frames = [
        pd.DataFrame({"unique_id": name, "ds": times, "y": np.round(900 + 100 * i + np.arange(30) * 0.75, 2)})
        for i, name in enumerate(names)
    ]
    return pd.concat(frames, ignore_index=True)


def write_dialect(truth, layout, choice):
    """Return the bytes of the table in one dialect."""
    mark = "," if choice["separator"] != "," and choice["decimal"] else "."

    def show(value):
        return value if choice["quoting"] == "texts" and mark == "." else f"{value:.2f}".replace(".", mark)

    if layout == "wide":
        table = truth.pivot(index="ds", columns="unique_id", values="y")[list(dict.fromkeys(truth["unique_id"]))]
        names = ["Datum", *table.columns]
        rows = [[str(ds), *map(show, row)] for ds, row in zip(table.index, table.to_numpy(), strict=True)]
        sums = [f"{value:.2f}".replace(".", mark) for value in table.sum()]
    else:
        ids = layout == "long"
        names = ["id", "date", "Last, MW"] if ids else ["date", "Last; MW"]
        rows = [[*([u] if ids else []), str(ds), show(y)] for u, ds, y in truth.itertuples(index=False)]
        sums = ["", f"{truth['y'].sum():.2f}".replace(".", mark)][not ids :]
    width = len(names)
    if choice["index"] == "unnamed":
        names, rows = ["", *names], [[str(i), *row] for i, row in enumerate(rows)]
        sums, width = ["", *sums], width + 1
    units = [["", *([""] * (width - 2)), "MW"]] if choice["units"] else []
    before, after = list(PREAMBLES[choice["preamble"]]), list(FOOTERS[choice["footer"]])
    if choice["preamble"] in ("padded", "directive"):
        before = [row + [""] * (width - len(row)) for row in before]
    after = [[*row, *sums] if row and row[0] in ("Total", "Summe") else row for row in after]
    after = [row[:width] if len(row) > 1 else row for row in after]
    text = io.StringIO(newline="")
    writer = csv.writer(
        text, delimiter=choice["separator"], quoting=QUOTING[choice["quoting"]], lineterminator=choice["end"]
    )
    writer.writerows(before)
    table = [*([names] if choice["header"] else []), *(units if choice["header"] else []), *rows]
    writer.writerows([[*row, ""] for row in table] if choice["trailing"] else table)
    for row in after:
        text.write(choice["separator"].join(row) + choice["end"])
    return text.getvalue().encode(choice["encoding"])


def read_table(path):
    return read_source(Source(kind="files", path=str(path)), covariates=Covariates()).table


def draw_choice(rng):
    lists = {
        "separator": SEPARATORS,
        "encoding": ENCODINGS,
        "preamble": list(PREAMBLES),
        "footer": list(FOOTERS),
        "quoting": list(QUOTING),
        "units": UNITS,
        "index": INDEX,
        "end": ENDS,
        "trailing": TRAILING,
        "header": HEADERS,
        "decimal": [False, True],
    }
    return {key: rng.choice(values) for key, values in lists.items()}


def is_same(read, truth, choice, layout):
    """Return whether a table has the truth's rows; without a header, series of columns are numbered."""
    if layout == "one":
        read = read.assign(unique_id="d")
    if layout == "wide" and not choice["header"]:
        names = dict(zip(sorted(read["unique_id"].unique()), dict.fromkeys(truth["unique_id"]), strict=False))
        read = read.assign(unique_id=read["unique_id"].map(names))
    both = read.merge(truth, on=["unique_id", "ds"], how="outer", suffixes=("", "_true"), indicator=True)
    return bool((both["_merge"] == "both").all() and np.allclose(both["y"], both["y_true"]))


def test_a_known_table_in_any_dialect_is_read_right_or_asked_about_never_wrong(tmp_path):
    rng, right, asked = random.Random(16), 0, []
    for number in range(N):
        layout, choice = LAYOUTS[number % 3], draw_choice(rng)
        truth = make_truth(layout, rng)
        path = tmp_path / f"d{number}.csv"
        path.write_bytes(write_dialect(truth, layout, choice))
        try:
            read = read_table(path)
        except DataError as error:
            asked.append((str(error), layout, choice))
            continue
        assert is_same(read, truth, choice, layout), (layout, choice, path.read_bytes()[:400], read)
        right += 1
    shown = "\n".join(map(str, asked[:10]))
    assert right >= 0.95 * N, f"{len(asked)} of {N} were asked about:\n{shown}"
