"""Windows: equal to the tutorial's, complete, and blind to what lies after their cutoff."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from lstm_model.contracts.settings import Covariates, WindowSpec
from lstm_model.contracts.windows_meta import SPLITS
from lstm_model.evaluation.error_scales import measure_scales
from lstm_model.series.series_table import find_last_observed, make_empty_covariates, read_series
from lstm_model.windows import segments
from lstm_model.windows.in_memory import Windows, concat_windows, load_refit_validation, load_windows
from lstm_model.windows.layout import Segment, read_segments
from lstm_model.windows.segments import plan_cutoffs, write_windows


def spec(**changes):
    base = {
        "context": 12, "horizon": 4, "season": 4, "frequency": "h", "stride": 1, "evaluation_stride": 1,
        "test_steps": 8, "validation_steps": 8, "align": "calendar", "pad_short": True,
    }  # fmt: skip
    return WindowSpec(**{**base, **changes})


def panel(lengths=(100, 60, 30), *, seed=0, frequency="h"):
    """Series of several lengths that end together, with a past and a future covariate and a static one."""
    rng = np.random.default_rng(seed)
    parts = []
    for i, n in enumerate(lengths):
        ds = (
            np.arange(200 - n, 200)
            if frequency == "1"
            else pd.date_range(end="2024-03-01", periods=n, freq=frequency).as_unit("us")
        )
        parts.append(
            pd.DataFrame(
                {
                    "unique_id": f"s{i}",
                    "ds": ds,
                    "y": rng.normal(size=n),
                    "observed": True,
                    "humidity": rng.normal(size=n),
                    "holiday": rng.integers(0, 2, n).astype(float),
                    "region": "north" if i % 2 else "south",
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


COVARIATES = Covariates(static=("region",), past=("humidity",), future=("holiday",))


def write(frame, folder, *, covariates=COVARIATES, fold=0, **changes):
    folder.mkdir(exist_ok=True, parents=True)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), folder / "series.parquet", row_group_size=37)
    write_windows(folder / "series.parquet", folder / "w", spec=spec(**changes), covariates=covariates, fold=fold)
    return folder / "w"


def everything(windows):
    return windows.gather_batch(torch.arange(len(windows)))


def create_sequences(data, seq_length):
    """As the tutorial has it."""
    xs, ys = [], []
    for i in range(len(data) - seq_length):
        xs.append(data[i : (i + seq_length)])
        ys.append(data[i + seq_length])
    return np.array(xs), np.array(ys)


def test_the_tutorials_windows_equal_create_sequences(tmp_path):
    sine = np.sin(np.linspace(0, 100, 1000))
    frame = pd.DataFrame({"unique_id": "sine", "ds": np.arange(1000), "y": sine, "observed": True})
    folder = write(
        frame, tmp_path, covariates=Covariates(), context=10, horizon=1, frequency="1",
        test_steps=200, validation_steps=0, pad_short=False,
    )  # fmt: skip
    for split, data in (("train", sine[:800]), ("test", sine[790:])):
        x, y = create_sequences(data.astype(np.float32), 10)
        target = everything(load_windows(folder, split)).target_BW.numpy()
        np.testing.assert_array_equal(target[:, :10], x)
        np.testing.assert_array_equal(target[:, 10], y)


def test_windows_are_what_slicing_gives(tmp_path):
    frame = panel()
    folder = write(frame, tmp_path)
    series = {i: g.reset_index(drop=True) for i, g in frame.groupby("unique_id")}
    for split in SPLITS:
        windows = load_windows(folder, split)
        batch = everything(windows)
        for w in range(len(windows)):
            rows = series[windows.unique_ids[windows.series_W[w]]]
            cut = int(rows.index[rows.ds == pd.Timestamp(windows.cutoff_W[w])][0]) + 1
            known = rows.y[max(0, cut - 12) : cut].to_numpy(np.float32)
            np.testing.assert_array_equal(batch.target_BW[w, 12 - len(known) : 12], known)
            np.testing.assert_array_equal(batch.target_BW[w, 12:], rows.y[cut : cut + 4].to_numpy(np.float32))
            np.testing.assert_array_equal(windows.compute_ds_WH()[w], rows.ds[cut : cut + 4].to_numpy())
            assert torch.isnan(batch.target_BW[w, : 12 - len(known)]).all()
            np.testing.assert_array_equal(batch.future_BWF[w, 12:, 0], rows.holiday[cut : cut + 4])
            np.testing.assert_array_equal(
                batch.past_BLP[w, 12 - len(known) :, 0],
                rows.humidity[max(0, cut - 12) : cut].to_numpy(np.float32),
            )
            assert batch.static_BS[w].tolist() == ([1.0, 0.0] if rows.region[0] == "north" else [0.0, 1.0])


def test_evaluation_covers_every_step_after_the_cutoff(tmp_path):
    windows = load_windows(write(panel(), tmp_path), "test")
    assert len(windows) == 3 * (8 - 4 + 1)
    cutoffs = plan_cutoffs(np.datetime64("2024-03-01", "us"), spec())
    assert windows.cutoff_W.min() == cutoffs.validation
    assert windows.compute_ds_WH().max() == cutoffs.test == np.datetime64("2024-03-01")


def test_no_training_row_holds_a_value_after_its_cutoff(tmp_path):
    frame = panel()
    cutoffs = plan_cutoffs(np.datetime64("2024-03-01", "us"), spec())
    for segment in read_segments(write(frame, tmp_path), "train"):
        last = pd.Timestamp(segment.start) + pd.Timedelta(hours=len(segment.values) - segment.padding - 1)
        assert last == cutoffs.train


def test_changing_values_after_the_cutoff_changes_no_training_byte_and_no_scaler(tmp_path):
    frame = panel()
    frame.loc[frame.unique_id.eq("s1") & frame.ds.between("2024-02-29 05:00", "2024-02-29 10:00"), "observed"] = False
    changed = frame.copy()
    after = changed.ds > plan_cutoffs(np.datetime64("2024-03-01", "us"), spec()).train
    assert (~frame.observed & ~after).any() and (~frame.observed & after).any(), "the gap must straddle the cutoff"
    # What repairs a gap depends on the value after it, so those repaired before the cutoff change too.
    changed.loc[after | ~changed.observed, ["y", "humidity"]] += 100.0
    changed.loc[~changed.observed, "humidity"] -= 100.0
    a, b = write(frame, tmp_path / "a"), write(changed, tmp_path / "b")
    assert (a / "split=train/part-0.parquet").read_bytes() == (b / "split=train/part-0.parquet").read_bytes()
    assert (a / "windows.json").read_text() == (b / "windows.json").read_text()
    assert not torch.equal(load_windows(a, "test").values_N, load_windows(b, "test").values_N)


def test_a_gap_that_reaches_a_cutoff_shows_no_later_value():
    y = np.arange(40, dtype=float)
    windows = Windows.from_arrays([np.where((y > 20) & (y < 25), np.nan, y)], context=8, horizon=2)
    batch = everything(windows)
    at = int(np.flatnonzero(windows.cutoff_W == 23)[0])
    assert batch.target_BW[at].tolist()[:8] == [16, 17, 18, 19, 20, 20, 20, 20]
    assert batch.observed_BW[at].tolist() == [True] * 5 + [False] * 4 + [True]


def test_long_series_are_cut_into_rows_without_losing_or_repeating_a_window(tmp_path, monkeypatch):
    whole = load_windows(write(panel(), tmp_path / "a", stride=3), "train")
    monkeypatch.setattr(segments, "SEGMENT_WINDOWS", 10)
    folder = write(panel(), tmp_path / "b", stride=3)
    pieces = load_windows(folder, "train")
    assert len(list(read_segments(folder, "train"))) > 10

    def key(w):
        return sorted(
            zip(w.series_W.tolist(), w.cutoff_W.tolist(), everything(w).target_BW[:, -1].tolist(), strict=True)
        )

    assert key(whole) == key(pieces)
    assert len(whole) == len({k[:2] for k in key(whole)})


def test_a_refit_reads_every_window_of_a_validation_that_is_scored_at_a_stride(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT_WINDOWS", 10)
    wide = {"validation_steps": 40, "evaluation_stride": 7}
    newest = load_refit_validation(write(panel(), tmp_path / "a", **wide), spec(**wide))
    every = load_windows(write(panel(), tmp_path / "b", **{**wide, "evaluation_stride": 1}), "validation")
    assert newest is not None and len(newest) == len(every) > 7 * 3
    assert sorted(newest.cutoff_W) == sorted(every.cutoff_W)
    assert load_refit_validation(tmp_path / "b", spec()) is None, "nothing is read twice"


def test_the_freshest_window_is_there_whatever_the_stride(tmp_path):
    for stride in (1, 3, 5):
        windows = load_windows(write(panel(), tmp_path / str(stride), stride=stride, evaluation_stride=stride), "train")
        assert windows.compute_ds_WH()[:, -1].max() == plan_cutoffs(np.datetime64("2024-03-01", "us"), spec()).train


def test_short_histories_are_padded_and_masked_down_to_two_values(tmp_path):
    frame = panel(lengths=(100, 16 + 6))
    windows = load_windows(write(frame, tmp_path), "train")
    short = windows.series_W == windows.unique_ids.index("s1")
    batch = windows.gather_batch(torch.arange(len(windows))[short])
    assert torch.isfinite(batch.target_BW).sum(1).tolist() == [6]
    none = load_windows(write(frame, tmp_path / "none", pad_short=False), "train")
    assert "s1" not in {none.unique_ids[i] for i in none.series_W.tolist()}


def test_repaired_values_are_read_but_never_a_target(tmp_path):
    frame = panel(lengths=(100,))
    frame.loc[40:41, "observed"] = False
    batch = everything(load_windows(write(frame, tmp_path), "train"))
    assert (~batch.observed_BW).any()
    assert torch.isfinite(batch.target_BW[~batch.observed_BW]).any()


def test_a_series_that_ends_early_is_still_tested_up_to_its_end(tmp_path):
    frame = panel(lengths=(100, 60))
    frame = frame[(frame.unique_id != "s1") | (frame.ds <= "2024-02-29 22:00")]
    windows = load_windows(write(frame, tmp_path, test_steps=4, validation_steps=4), "test")
    assert [windows.unique_ids[i] for i in windows.series_W] == ["s0", "s1"]
    assert windows.cutoff_W[0] == windows.cutoff_W[1], "one cutoff for all"
    assert everything(windows).observed_BW[1, 12:].tolist() == [True, True, False, False]


def test_baselines_see_four_weeks_where_the_context_is_shorter(tmp_path):
    frame = panel(lengths=(200,))
    windows = load_windows(write(frame, tmp_path, context=6, season=24, test_steps=10), "test")
    before = windows.gather_past(torch.arange(len(windows)))
    assert before.shape == (len(windows), 4 * 168)
    y = frame.y.to_numpy(np.float32)
    np.testing.assert_array_equal(before[-1, -196:].numpy(), y[:-4])
    assert before[-1, :-196].isnan().all(), "nothing lies before the first value"
    np.testing.assert_array_equal(everything(windows).target_BW[-1].numpy(), y[-4 - 6 :])
    assert len(windows) == 10 - 4 + 1


@pytest.mark.parametrize("align", ["calendar", "end"])
def test_error_scales_pair_values_one_season_apart_across_gaps(align):
    rng = np.random.default_rng(0)
    y = np.tile([0.0, 10.0, 20.0, 30.0], 25) + rng.normal(size=100)
    real = rng.random(100) > 0.1
    frame = pd.DataFrame({"unique_id": "a", "ds": np.arange(100), "y": y, "observed": real})
    frame.loc[99, "observed"] = True
    known = np.where(frame.observed, y, np.nan)[:92]
    expected = np.nanmean(np.abs(known[4:] - known[:-4]))
    before = segments.select_before_test(frame, spec(frequency="1", align=align))
    assert measure_scales(before, season=4).mase_scale[0] == pytest.approx(expected)


def test_folds_move_all_cutoffs_back(tmp_path):
    latest, earlier = (load_windows(write(panel(), tmp_path / str(k), fold=k), "test") for k in (0, 1))
    assert earlier.compute_ds_WH().max() < latest.compute_ds_WH().min()


@pytest.mark.parametrize("frequency", ["h", "D", "B", "W-SUN", "MS", "ME", "QS", "YS", "15min", "1"])
def test_every_calendar_round_trips(tmp_path, frequency):
    frame = panel(lengths=(50,), frequency=frequency) if frequency != "1" else panel(lengths=(50,), frequency="1")
    windows = load_windows(write(frame, tmp_path, frequency=frequency), "test")
    np.testing.assert_array_equal(windows.compute_ds_WH()[-1], frame.ds.to_numpy()[-4:])


def test_future_rows_carry_covariates_but_no_window_scores_them(tmp_path):
    frame = panel(lengths=(100,))
    frame.loc[frame.index[-4:], ["y", "observed"]] = [np.nan, False]
    windows = load_windows(write(frame, tmp_path), "test")
    assert windows.compute_ds_WH().max() == frame.ds.iloc[-5]


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("frequency", ["h", "1"])
def test_the_end_of_the_panel_is_found_among_rows_that_only_carry_covariates(tmp_path, statistics, frequency):
    frame = panel(frequency=frequency)
    latest = sorted(frame.ds.unique())[-6:]
    frame.loc[frame.ds.isin(latest), "observed"] = False
    frame.loc[(frame.unique_id == "s1") & (frame.ds == latest[2]), "observed"] = True
    table = tmp_path / "series.parquet"
    rows = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(rows, table, row_group_size=23, write_statistics=statistics)
    assert find_last_observed(table) == latest[2]


def test_a_series_that_several_blocks_hold_comes_whole(tmp_path):
    frame, table = panel(), tmp_path / "series.parquet"
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), table, row_group_size=7)
    for series, (name, rows) in zip(read_series(table, COVARIATES), frame.groupby("unique_id"), strict=True):
        assert series.unique_id == name
        np.testing.assert_array_equal(series.ds, rows.ds.to_numpy())
        np.testing.assert_array_equal(series.y, rows.y.to_numpy(np.float32))
        np.testing.assert_array_equal(series.future[:, 0], rows.holiday.to_numpy(np.float32))


def test_what_waits_to_be_written_keeps_no_series_alive(tmp_path):
    (tmp_path / "w").mkdir()
    with segments.SplitWriter(tmp_path / "w", "validation", spec(), Covariates()) as writer:
        y = np.zeros(10_000, np.float32)
        part = Segment(
            "a",
            np.datetime64("2024-01-01", "us"),
            0,
            y[-20:],
            y[-20:] == 0,
            make_empty_covariates(20),
            make_empty_covariates(20),
        )
        writer.add(part)
        assert writer._rows[0].values.base is None


def test_concat_keeps_every_window(tmp_path):
    folder = write(panel(), tmp_path)
    a, b = load_windows(folder, "train"), load_windows(folder, "validation")
    both = concat_windows(a, b)
    assert len(both) == len(a) + len(b)
    tail = both.gather_batch(torch.arange(len(a), len(both)))
    for x, y in zip(vars(tail).values(), vars(everything(b)).values(), strict=True):
        assert torch.equal(torch.nan_to_num(x.float()), torch.nan_to_num(y.float()))


def test_a_text_covariate_with_too_many_categories_is_refused(tmp_path):
    frame = panel(lengths=(20,) * 70)
    frame["region"] = frame.unique_id
    with pytest.raises(ValueError, match=r"'region' has 70 categories; at most 64"):
        write(frame, tmp_path)


MEASURE = """
import resource, sys
from pathlib import Path
from lstm_model.contracts.settings import Covariates, WindowSpec
from lstm_model.windows.segments import write_windows
spec = WindowSpec.model_validate_json(sys.argv[3])
write_windows(Path(sys.argv[1]), Path(sys.argv[2]), spec=spec, covariates=Covariates())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
def test_memory_stays_flat_while_the_panel_grows_tenfold(tmp_path):
    def peak_mebibytes(num_series):
        table = tmp_path / f"{num_series}.parquet"
        with pq.ParquetWriter(table, pa.schema(TABLE_FIELDS)) as writer:
            for i in range(num_series):
                writer.write_table(long_series(f"s{i:04}"), row_group_size=1 << 20)
        command = [
            sys.executable,
            "-c",
            MEASURE,
            table,
            tmp_path / f"w{num_series}",
            spec(frequency="1").model_dump_json(),
        ]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    small, large = peak_mebibytes(20), peak_mebibytes(200)
    assert large < small + 128, f"{small:.0f} MiB for 2 million rows, {large:.0f} MiB for 20 million"


TABLE_FIELDS = [("unique_id", pa.string()), ("ds", pa.int64()), ("y", pa.float64()), ("observed", pa.bool_())]


def long_series(unique_id, steps=100_000):
    y = np.random.default_rng(0).normal(size=steps)
    columns = {"unique_id": [unique_id] * steps, "ds": np.arange(steps), "y": y, "observed": np.ones(steps, bool)}
    return pa.table(columns, schema=pa.schema(TABLE_FIELDS))
