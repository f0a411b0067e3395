"""What `python -m flows.check` reads, says and leaves behind."""

import json
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
