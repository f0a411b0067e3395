"""Measure how fast windows are written and read, in how much memory, beside numpy and neuralforecast.

    python -m benchmarks.windows                          # 1,000 series of 100,000 steps: 100 million windows
    python -m benchmarks.windows --series 10 --steps 1000 --rounds 1

Each case is a process of its own, so that its peak memory is its own; the cases take turns. `stage` is the whole
windows stage as the flow runs it, from the Parquet series table: its bytes are verified, the segments written, hashed
and moved into place. `stream` reads all segments back. `numpy copy` materialises every window of as many series as
`--numpy-series` says, one after another (`sliding_window_view`, copied): all of them would be 86 GB; `numpy save` also
writes them. `neuralforecast dataset` and `neuralforecast windows` are what its training does with as many series, where
it is installed (`make bench-peers`). A tenth of the series is measured too: memory that grows with the rows would show.
GB/s counts what lies there: the series' values for `stage`, `stream` and `neuralforecast dataset`, whole windows for
the others; windows/s compare.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import PEERS, ROOT, Clock, Result, in_words, parser, spread

CONTEXT, HORIZON, SEASON = 168, 48, 24
WIDTH = CONTEXT + HORIZON
START = np.datetime64("2013-01-01", "us")


def main() -> None:
    """Run all cases, print the table and keep the result."""
    options = parse()
    if options.case:
        print(json.dumps(CASES[options.case](Path(options.folder), options.numpy_series)))
        return
    if options.quick:
        options.series, options.steps, options.rounds = 10, 1500, 1
    result = Result("windows", "numpy", "pyarrow", "pandas", quick=options.quick)
    sizes = [n for n in (options.series // 10, options.series) if n]
    rows = [row for n in sizes for row in measure(n, options)]
    print(table(rows))
    setting = {"steps": options.steps, "context": CONTEXT, "horizon": HORIZON, "rounds": options.rounds}
    result.keep(rows, seeds=[0], setting=setting)


def parse() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--series", type=int, default=1000)
    made.add_argument("--steps", type=int, default=100_000, help="of each series")
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--numpy-series", type=int, default=20, help="series that numpy materialises")
    made.add_argument("--case", help=argparse.SUPPRESS)
    made.add_argument("--folder", help=argparse.SUPPRESS)
    return made.parse_args()


def measure(num_series: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One record a case, each run `--rounds` times in turn."""
    peers = PEER_CASES if PEERS.exists() and num_series == options.series else ()
    found: dict[str, list[dict[str, float]]] = {case: [] for case in (*CASES, *peers)}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_table(folder, num_series, options.steps)
        for _ in range(options.rounds):
            for case, taken in found.items():
                taken.append(in_a_process(case, folder, options.numpy_series))
    return [
        {
            "series": num_series,
            "case": case,
            "windows": int(taken[0]["windows"]),
            "seconds": spread([one["seconds"] for one in taken]),
            "cpu_seconds": spread([one["cpu_seconds"] for one in taken]),
            "million_windows_per_second": spread([one["windows"] / one["seconds"] / 1e6 for one in taken]),
            "gigabytes_per_second": spread([one["bytes"] / one["seconds"] / 1e9 for one in taken]),
            "peak_mebibytes": spread([one["peak_mebibytes"] for one in taken], 0),
            "bytes_on_disk_per_window": round(taken[0]["disk"] / taken[0]["windows"], 2),
        }
        for case, taken in found.items()
    ]


def in_a_process(case: str, folder: Path, numpy_series: int) -> dict[str, float]:
    """What one case says of itself."""
    if case in PEER_CASES:
        command = [str(PEERS), "-m", "benchmarks.peers.windows", case.split()[1], str(table_in(folder))]
        command += ["--series", str(numpy_series), "--context", str(CONTEXT), "--horizon", str(HORIZON)]
    else:
        command = [sys.executable, "-m", "benchmarks.windows", "--case", case, "--folder", str(folder)]
        command += ["--numpy-series", str(numpy_series)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def make_table(folder: Path, num_series: int, steps: int) -> None:
    """Hourly series with a day and noise, as an artifact of kind `series`, written as ingest writes it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from lstm_model.storage.store import Store

    rng, t = np.random.default_rng(0), np.arange(steps)
    ds = START + t * np.timedelta64(1, "h").astype("timedelta64[us]")
    types = {"unique_id": pa.large_string(), "ds": pa.timestamp("us"), "y": pa.float64(), "observed": pa.bool_()}
    schema = pa.schema(types)
    with Store(folder).create("series") as draft:
        with pq.ParquetWriter(draft.folder / "series.parquet", schema, compression="zstd", compression_level=1) as file:
            for first in range(0, num_series, 10):  # about a row group of ingest's
                block = range(first, min(first + 10, num_series))
                y = [100 + 20 * np.sin(2 * np.pi * t / SEASON + k) + rng.normal(size=steps) * 3 for k in block]
                columns = [
                    np.repeat([f"series {k:06}" for k in block], steps),
                    np.tile(ds, len(block)),
                    np.concatenate(y),
                    np.ones(len(block) * steps, bool),
                ]
                file.write_table(pa.table(columns, schema=schema), row_group_size=1 << 20)
        draft.num_rows = num_series * steps
    (folder / "series.json").write_text(draft.artifact.model_dump_json())


def table_in(folder: Path) -> Path:
    return next((folder / "artifacts" / "series").glob("*/series.parquet"))


def stage(folder: Path, _: int) -> dict[str, float]:
    """The whole stage, the check of its input included; what it writes is kept for `stream`."""
    import lstm_model.windows.segments  # noqa: F401  what a process imports once does not count
    from lstm_model.contracts.artifact import Artifact
    from lstm_model.contracts.settings import Covariates, WindowSpec
    from lstm_model.storage.store import Store
    from tasks.stages.window import window

    store, series = Store(folder), Artifact.model_validate_json((folder / "series.json").read_text())
    spec = WindowSpec(
        context=CONTEXT, horizon=HORIZON, season=SEASON, frequency="h", stride=1, evaluation_stride=1,
        test_steps=8 * HORIZON, validation_steps=8 * HORIZON, align="calendar", pad_short=True,
    )  # fmt: skip
    clock = Clock()
    store.verify(series)
    windows = window.fn(series=series, spec=spec, covariates=Covariates(), fold=0, store=store)
    taken = clock.read()
    (folder / "windows.json").write_text(windows.model_dump_json())
    files = [file for file in store.path(windows).rglob("*") if file.is_file()]
    written = sum(file.stat().st_size for file in files)
    return {**taken, "windows": total(store.path(windows)), "bytes": 4.0 * series.num_rows, "disk": written}


def stream(folder: Path, _: int) -> dict[str, float]:
    """Every segment of every split, one after another."""
    from lstm_model.contracts.artifact import Artifact
    from lstm_model.contracts.windows_meta import SPLITS
    from lstm_model.storage.store import Store
    from lstm_model.windows.layout import read_segments

    path = Store(folder).path(Artifact.model_validate_json((folder / "windows.json").read_text()))
    clock, steps = Clock(), 0
    for split in SPLITS:
        steps += sum(len(segment.values) for segment in read_segments(path, split))
    files = [file.stat().st_size for file in path.rglob("*.parquet")]
    return {**clock.read(), "windows": total(path), "bytes": 4.0 * steps, "disk": sum(files)}


def numpy_copy(folder: Path, num_series: int, *, save: bool = False) -> dict[str, float]:
    """Each series' windows as an array of their own, dropped before the next."""
    import pyarrow.parquet as pq

    table = pq.ParquetFile(table_in(folder)).read_row_group(0, columns=["unique_id", "y"])
    ids = table.column("unique_id").combine_chunks().dictionary_encode().indices.to_numpy()
    every = np.split(table.column("y").to_numpy().astype(np.float32), np.flatnonzero(np.diff(ids)) + 1)[:-1] or [
        table.column("y").to_numpy().astype(np.float32)
    ]
    clock, count, disk = Clock(), 0, 0
    for k in range(num_series):
        made = np.lib.stride_tricks.sliding_window_view(every[k % len(every)], WIDTH).copy()
        count += len(made)
        if save:
            np.save(folder / "made.npy", made)
            disk += (folder / "made.npy").stat().st_size
    return {**clock.read(), "windows": count, "bytes": 4.0 * WIDTH * count, "disk": disk}


def numpy_save(folder: Path, num_series: int) -> dict[str, float]:
    """The same, each array written to a file that the next one overwrites."""
    return numpy_copy(folder, num_series, save=True)


def total(path: Path) -> int:
    """The windows of all splits."""
    return sum(json.loads((path / "windows.json").read_text())["windows"].values())


def table(rows: list[dict[str, Any]]) -> str:
    """As Markdown."""
    lines = [
        "| series | case | seconds | CPU seconds | million windows/s | GB/s | peak MiB | bytes a window |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    columns = {"seconds": ".2f", "cpu_seconds": ".2f", "million_windows_per_second": ".2f"}
    columns |= {"gigabytes_per_second": ".2f", "peak_mebibytes": ".0f"}
    for row in rows:
        cells = [in_words(row[name], form) for name, form in columns.items()]
        cells.append(f"{row['bytes_on_disk_per_window']:.2f}")
        lines.append(f"| {row['series']:,} | {row['case']} | {' | '.join(cells)} |")
    return "\n".join(lines)


CASES = {"stage": stage, "stream": stream, "numpy copy": numpy_copy, "numpy save": numpy_save}
PEER_CASES = ("neuralforecast dataset", "neuralforecast windows")

if __name__ == "__main__":
    main()
