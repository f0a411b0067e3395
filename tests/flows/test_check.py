"""What `python -m flows.check` reads, says and leaves behind."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd

from flows.check import main


def write_load(folder, rows=200):
    path = folder / "load.csv"
    times = pd.date_range("2024-01-01", periods=rows, freq="h")
    pd.DataFrame({"ds": times, "load": range(rows)}).to_csv(path, index=False)
    return path


def test_the_table_is_written_as_it_is_read(tmp_path, capsys):
    assert main(["--data", str(write_load(tmp_path)), "--table", str(tmp_path / "out.parquet")]) == 0
    table = pd.read_parquet(tmp_path / "out.parquet")
    assert list(table.columns) == ["unique_id", "ds", "y", "observed"]
    assert table["y"].tolist() == list(range(200))
    assert "Traceback" not in "".join(capsys.readouterr())


def test_what_cannot_be_read_is_code_2_and_a_message(tmp_path, capsys):
    path = tmp_path / "two.csv"
    path.write_text("ds,a,b\n2024-01-01,1,2\n2024-01-02,1,2\n2024-01-03,1,2\n")
    table, told = tmp_path / "out.parquet", tmp_path / "o.json"
    assert main(["--data", str(path), "--table", str(table), "--json", str(told)]) == 2
    assert "could be the target: a, b" in "".join(capsys.readouterr())
    assert not table.exists()
    assert "a, b" in json.loads(told.read_text())["errors"][0]


def test_neither_prefect_nor_torch_is_loaded(tmp_path):
    code = (
        "import sys; from flows.check import main; "
        f"assert main(['--data', {str(write_load(tmp_path))!r}]) == 0; "
        "assert not {'prefect', 'torch', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_all_that_must_be_said_is_asked_at_once(tmp_path, capsys):
    path = tmp_path / "orders.csv"
    rows = [f"2024-01-{d:02},2024-02-{d:02},{s},{c},{d},{d + 1}" for d in range(1, 29) for s in "ab" for c in "xxyy"]
    path.write_text("\n".join(["ordered,shipped,shop,colour,sold,returned", *rows]))
    assert main(["--data", str(path)]) == 2
    told = capsys.readouterr()
    assert "more than one column could be the time: ordered, shipped" in told.err
    assert "more than one column of numbers could be the target: sold, returned" in told.err
    assert told.err.count("error: ") == 2
    assert main(["--data", str(path), "--time-column", "ordered"]) == 2
    told = capsys.readouterr()
    assert "could name the series: shop, colour" in told.err and "target: sold, returned" in told.err
    assert "sold, returned (2)" in told.out and "2024-01-28" in told.out, "columns and rows as far as they were read"


def test_the_page_tells_how_a_source_is_read(tmp_path, capsys):
    path = tmp_path / "meters.csv"
    times = pd.date_range("2024-01-01", periods=300, freq="h")
    frame = pd.DataFrame({"ds": times, "meter": "A", "load": range(300), "note": "x"}).drop(index=[10, 11, 50])
    frame.to_csv(path, index=False)
    assert (
        main(["--data", str(path), "--id-column", "meter", "--horizon", "12", "--json", str(tmp_path / "o.json")]) == 0
    )
    page = capsys.readouterr().out
    assert all(len(line) <= 110 for line in page.splitlines())
    for line in (
        "  load    integer  target   the only column of numbers",
        "  A       2024-01-01 00:00  2024-01-13 11:00     297  3 (1 %)            2  1 (<1 %)",
        "  A          2024-01-13 11:00  299",
        "forecast     will work: 12 steps of h ahead",
    ):
        assert line in page, page
    told = json.loads((tmp_path / "o.json").read_text())
    assert [one["role"] for one in told["columns"]] == ["time", "series", "target", "ignored"]
    assert told["series"][0]["missing"] == 3 and told["findings"][0]["code"] == "missing"
    assert {one["flow"]: one["works"] for one in told["prospects"]} == {"retrain": True, "forecast": True}


def test_categories_are_listed_with_their_column(tmp_path, capsys):
    days = pd.date_range("2024-01-01", periods=60)
    frame = pd.DataFrame({"ds": days, "sold": [*range(1, 54), *[None] * 7], "promo": ["none", "flyer", "tv"] * 20})
    frame["open"] = ["yes", "no"] * 30
    frame.to_csv(tmp_path / "sales.csv", index=False)
    (tmp_path / "c.yaml").write_text(
        f"source: {{kind: files, path: {tmp_path / 'sales.csv'}}}\nhorizon: 7\ncovariates: {{future: [promo, open]}}"
    )
    assert main(["--config", str(tmp_path / "c.yaml")]) == 0
    page = capsys.readouterr().out
    for line in (
        "  promo   text     future   declared in covariates; 3 categories: flyer, none, tv",
        "  open    text     future   declared in covariates; yes is 1, no is 0",
        "  promo  future  flyer, none, tv  7 steps beyond the last value of the target",
        "forecast     will work: 7 steps of D ahead",
    ):
        assert line in page, page
    frame.iloc[:-1].to_csv(tmp_path / "sales.csv", index=False)
    assert main(["--config", str(tmp_path / "c.yaml")]) == 0
    assert "'promo' of series 'sales' is not known at 2024-02-29" in " ".join(capsys.readouterr().out.split())


def test_a_number_beside_the_steps_of_each_series_is_not_called_a_step(tmp_path, capsys):
    path = tmp_path / "weeks.csv"
    rows = [f"{name},{price},{','.join(map(str, range(10, 30)))}" for name, price in (("a", 1.5), ("b", 2.0))]
    path.write_text("\n".join([f"item,price,{','.join(f'W{week}' for week in range(1, 21))}", *rows]))
    assert main(["--data", str(path), "--horizon", "3"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"price +number +ignored", told) and re.search(r"W1, …, W20 \(20\) +integer +step", told)
