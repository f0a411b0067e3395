"""Two rows that name columns only together are joined; one that names them all stays alone."""

import pytest

from lstm_model.contracts.findings import DataError
from lstm_model.sources.stacked_header import join_header_rows
from tests.lstm_model.sources.test_raw_series import read, write

MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def lines(*rows):
    return "".join(";".join(map(str, row)) + "\n" for row in rows)


def over_years(cells, *, width=12, years=(2022, 2023)):
    """A row of years over blocks of cells."""
    return [cells, *(cell for year in years for cell in (year, *[""] * (width - 1)))]


@pytest.mark.parametrize("months", [MONTHS, list(range(1, 13)), ["Jan.", "Feb.", *MONTHS[2:]]])
def test_years_over_months_are_dates(tmp_path, months):
    values = list(range(100, 124))
    body = [["bread", *values], ["cake", *values[::-1]], ["juice", *values]]
    write(tmp_path / "a.csv", lines(over_years("item"), ["", *months, *months], *body))
    raw = read(tmp_path / "a.csv")
    bread = raw.table[raw.table["unique_id"] == "bread"]
    assert bread["ds"].dt.strftime("%Y-%m").tolist() == [f"{y}-{m:02}" for y in (2022, 2023) for m in range(1, 13)]
    assert bread["y"].tolist() == values
    assert "lines 1 and 2 of a.csv name the columns together" in raw.reasons["header_line"]


@pytest.mark.parametrize("header", [[["", "Hall A", "", "Hall B", ""], ["time", "kW", "degrees", "kW", "degrees"]],
                                    [["time", "Hall A", "", "Hall B", ""], ["", "kW", "degrees", "kW", "degrees"]],
                                    [["Report", "", "", "", ""], ["time", "Hall A", "", "Hall B", ""],
                                     ["", "kW", "degrees", "kW", "degrees"]]])  # fmt: skip
def test_places_over_units_are_names_of_columns(tmp_path, header):
    body = [[f"2024-01-{day:02}", day, 20 + day % 3, day + 5, 21 - day % 2] for day in range(1, 29)]
    write(tmp_path / "a.csv", lines(*header, *body))
    raw = read(tmp_path / "a.csv")
    assert raw.table["unique_id"].unique().tolist() == ["Hall A kW", "Hall A degrees", "Hall B kW", "Hall B degrees"]
    assert len(raw.table) == 4 * 28


@pytest.mark.parametrize(
    ("upper", "lower"),
    [
        (["time", "a", "b", "c"], ["", "kW", "kW", "kW"]),  # units below names
        (["Sales of 2024", "", "", ""], ["date", "a", "b", "c"]),  # a title
        (["Sales", "", "2024-01-31", ""], ["date", "a", "b", "c"]),
        (["date", "a", "", "b"], ["2024-01-01", "1", "2", "3"]),  # data below
        (["item", "2020", "", ""], ["bread", "301", "305", "309"]),
        (["date", "a", "", "b"], ["", "kW", "kW", "kW"]),  # joined names repeat
    ],
)
def test_other_rows_are_not_joined(upper, lower):
    assert join_header_rows(upper, lower) is None


def test_columns_of_values_without_a_name_are_refused_with_the_way_out(tmp_path):
    body = [[f"2024-01-{day:02}", day, day + 1, day + 2] for day in range(1, 29)]
    write(tmp_path / "a.csv", lines(["time", "a", "", "b"], *body))
    with pytest.raises(DataError, match="1 column of values without a name, first column 3"):
        read(tmp_path / "a.csv")
    write(tmp_path / "a.csv", lines(["time", "a", "Unnamed: 0.1", "b"], *body))  # as pandas names an index twice
    assert "Unnamed: 0.1" in set(read(tmp_path / "a.csv").table["unique_id"])


def test_two_runs_of_numbered_columns_are_refused(tmp_path):
    body = [[name, *range(100, 116)] for name in ("bread", "cake", "juice")]
    names = ["item", *(f"P{k}" for k in range(1, 13)), *(f"Q{k}" for k in range(1, 5))]
    write(tmp_path / "a.csv", lines(names, *body))
    with pytest.raises(DataError, match="P1, P2, P3, P4 and 8 more count on, as the steps Q1, Q2, Q3, Q4 after them"):
        read(tmp_path / "a.csv")


def test_a_table_that_begins_to_the_right_of_notes_has_its_own_names(tmp_path):
    head = [["Report", "", "", ""], ["By:", "Huber", "", ""], ["", "", "date", "sales"]]
    body = [["", "", f"2024-01-{day:02}", day] for day in range(1, 29)]
    write(tmp_path / "a.csv", lines(*head, *body))
    raw = read(tmp_path / "a.csv")
    assert raw.source.columns.ds == "date" and raw.source.columns.y == "sales" and len(raw.table) == 28
    assert "left out: lines 1, 2" in raw.reasons["header_line"]


@pytest.mark.parametrize(
    ("layout", "message"), [("auto", "no column of timestamps"), ("wide_rows", "'W6' to 'W8', which leaves out steps")]
)
def test_numbered_steps_of_which_one_is_left_out_are_refused(tmp_path, layout, message):
    weeks = [f"W{week}" for week in range(1, 21) if week != 7]
    write(tmp_path / "a.csv", lines(["item", *weeks], *([name, *range(10, 29)] for name in "abc")))
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.csv", layout=layout)
