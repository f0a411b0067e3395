"""Windows that come from disk: each once an epoch, in an order that the seed says, within the limit."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lstm_model.compute.device import DeviceChoice
from lstm_model.compute.process_group import World
from lstm_model.contracts.settings import Covariates, ModelSpec, Plan, TrainingSpec, WindowSpec
from lstm_model.contracts.windows_meta import write_windows_meta
from lstm_model.series.series_table import make_empty_covariates
from lstm_model.training.checkpoint import Checkpoint
from lstm_model.training.dataset import load_training
from lstm_model.training.train import fit
from lstm_model.training.validation import describe_windows
from lstm_model.windows import segments, stream
from lstm_model.windows.in_memory import Windows, load_windows
from lstm_model.windows.layout import Segment
from lstm_model.windows.segments import SplitWriter, make_layout
from lstm_model.windows.stream import StreamedWindows, StreamError, open_stream
from tests.factories import windows_meta

CPU = DeviceChoice("cpu", "fp32", 1, "a test")
CONTEXT, HORIZON, SEASON = 24, 6, 12


def spec(**changes) -> WindowSpec:
    window = {"context": CONTEXT, "horizon": HORIZON, "season": SEASON, "frequency": "1", "stride": 1}
    splits = {"evaluation_stride": 1, "test_steps": 6, "validation_steps": 24, "align": "calendar", "pad_short": True}
    return WindowSpec(**{**window, **splits, **changes})


def plan(**training) -> Plan:
    network = {"kind": "mixture", "hidden_dim": 8, "layer_dim": 1, "segment": 6, "dropout": 0.0, "levels": (0.8,)}
    settings = {"seed": 0, "device": "cpu", "precision": "fp32", "threads": 1, "max_steps": 100, "batch_size": 32}
    loop = {"learning_rate": 0.01, "weight_decay": 0.01, "gradient_clip": 1.0, "patience": 9, "refit": True}
    return Plan(
        window=spec(),
        model=ModelSpec(**network, normalisation="mean_std"),
        training=TrainingSpec(**{**settings, **loop, **training}),
    )


def write(folder: Path, series: dict[str, np.ndarray], row_group_steps: int, monkeypatch=None) -> Path:
    """A windows dataset of plain series, the last 24 steps of each for validation."""
    before, segments.ROW_GROUP_STEPS = segments.ROW_GROUP_STEPS, row_group_steps
    none = Covariates()
    try:
        with SplitWriter(folder, "train", spec(), none) as train, SplitWriter(folder, "validation", spec(), none) as v:
            for name, y in series.items():
                train.add(segment(name, 0, y[:-24]))
                v.add(segment(name, len(y) - 24 - CONTEXT, y[-24 - CONTEXT :]))
    finally:
        segments.ROW_GROUP_STEPS = before
    layouts = {split: make_layout(spec(), split) for split in ("train", "validation")}
    by_split = {name: {s: getattr(at, name) for s, at in layouts.items()} for name in ("stride", "lead", "min_context")}
    geometry = {"context": CONTEXT, "horizon": HORIZON, "frequency": "1"}
    write_windows_meta(folder, windows_meta(**geometry, **by_split))
    return folder


def segment(name: str, start: int, y: np.ndarray) -> Segment:
    values = np.asarray(y, np.float32)
    return Segment(
        name, start, 0, values, np.isfinite(values), make_empty_covariates(len(y)), make_empty_covariates(len(y))
    )


def seasonal(count=12, steps=200, seed=0) -> dict[str, np.ndarray]:
    rng, t = np.random.default_rng(seed), np.arange(steps)
    return {
        f"s{i:02d}": 50 + 10 * np.sin(2 * np.pi * (t + rng.integers(12)) / SEASON) + rng.normal(0, 0.5, steps)
        for i in range(count)
    }


def distinct(folder: Path, steps: int = 400) -> Path:
    """Twelve series in which every value is another, so that its last value names a window."""
    return write(folder, {f"s{i:02d}": 1000.0 * i + np.arange(steps) for i in range(12)}, row_group_steps=steps)


def names(batches) -> list[float]:
    return torch.cat([batch.target_BW[:, -1] for batch in batches]).tolist()


def small(folder: Path, **options) -> StreamedWindows:
    """Of three row groups in memory at once."""
    largest = max(group.nbytes for group in open_stream([folder], "train", limit=2**30).groups)
    return open_stream([folder], "train", limit=stream.BLOCK_SHARE * 3 * largest, **options)


def test_each_window_comes_once_an_epoch_and_the_seed_says_when(tmp_path):
    folder = distinct(tmp_path)
    windows, every = small(folder), load_windows(folder, "train")
    assert len(windows.groups) >= 6 and len(list(zip(range(3), windows.plan_order(0), strict=False))) == 3
    assert len(windows) == len(every)
    size, epoch = 37, len(windows)
    drawn = names(windows.read_batches(size, seed=0, first=0, steps=2 * epoch // size + 1))
    assert (
        sorted(drawn[:epoch])
        == sorted(drawn[epoch : 2 * epoch])
        == sorted(names([every.gather_batch(torch.arange(epoch))]))
    )
    assert drawn[:epoch] != drawn[epoch : 2 * epoch], "another order in the next epoch"
    assert drawn == names(small(folder).read_batches(size, seed=0, first=0, steps=2 * epoch // size + 1))
    assert drawn[:epoch] != names(windows.read_batches(size, seed=1, first=0, steps=epoch // size + 1))[:epoch]


def test_the_windows_are_mixed_beyond_their_row_group(tmp_path):
    drawn = names(small(distinct(tmp_path)).read_batches(32, seed=0, first=0, steps=10))
    groups = [{int(name // 1000) for name in drawn[i : i + 32]} for i in range(0, 320, 32)]
    assert min(map(len, groups)) >= 3, "each batch has windows of all row groups in memory"


@pytest.mark.parametrize("first", [1, 40, 130])
def test_what_was_drawn_is_skipped_without_being_read(first, tmp_path, monkeypatch):
    windows = small(distinct(tmp_path))
    whole = names(windows.read_batches(32, seed=0, first=0, steps=140))
    read = []
    one = StreamedWindows.read_groups
    monkeypatch.setattr(
        StreamedWindows, "read_groups", lambda self, groups: read.append(len(groups)) or one(self, groups)
    )
    assert names(windows.read_batches(32, seed=0, first=first, steps=140)) == whole[32 * first :]
    left = (140 - first) * 32 / (len(windows) / len(windows.groups))
    assert sum(read) <= left + 4 * 3, "the block it was in, the next, and what is read ahead"


def test_processes_share_the_row_groups(tmp_path):
    folder = distinct(tmp_path)
    shares = [small(folder, world=World(rank, 2)) for rank in range(2)]
    drawn = [names(w.read_batches(len(w), seed=0, first=0, steps=1)) for w in shares]
    every = load_windows(folder, "train")
    assert sorted(drawn[0] + drawn[1]) == sorted(names([every.gather_batch(torch.arange(len(every)))]))
    with pytest.raises(StreamError, match="cannot be shared by 99 processes"):
        open_stream([folder], "train", limit=2**30, world=World(0, 99))


def test_a_limit_below_a_row_group_is_an_error_that_says_the_least(tmp_path):
    with pytest.raises(StreamError, match=r"0 MiB to a process.* within no less than 1 MiB"):
        open_stream([distinct(tmp_path)], "train", limit=1000)


def test_a_sample_is_the_windows_themselves_without_the_steps_between(tmp_path):
    series = seasonal(count=5)
    for y in series.values():
        y[[30, 31, 60, 150, 151, 152]] = np.nan
    folder = write(tmp_path, series, row_group_steps=400)
    every, streamed = load_windows(folder, "train"), open_stream([folder], "train", limit=2**30)
    index = torch.arange(0, len(every), 29)
    sample, expected = streamed.take(index), every.take(index)
    for name, tensor in vars(sample.gather_batch(torch.arange(len(index)))).items():
        assert torch.equal(tensor.nan_to_num(-1), getattr(every.gather_batch(index), name).nan_to_num(-1)), name
    np.testing.assert_array_equal(sample.cutoff_W, expected.cutoff_W)
    np.testing.assert_array_equal(describe_windows(sample).horizons_K, describe_windows(expected).horizons_K)


def test_the_outline_covers_what_the_windows_cover(tmp_path):
    from lstm_model.training.leakage import find_first_cutoffs, find_last_targets

    folder = write(tmp_path, {**seasonal(), "long": np.arange(1000.0)}, row_group_steps=300)
    every, outline = load_windows(folder, "train"), open_stream([folder], "train", limit=2**30).outline
    for find in (find_last_targets, find_first_cutoffs):
        assert find(outline, by_series=True) == find(every, by_series=True)


def test_several_folders_are_one_data_set(tmp_path):
    series = seasonal()
    parts = [dict(list(series.items())[:5]), dict(list(series.items())[5:])]
    folders = [write(tmp_path / str(i), part, row_group_steps=400) for i, part in enumerate(parts)]
    whole = load_windows(write(tmp_path / "whole", series, row_group_steps=400), "train")
    assert load_windows(folders, "train").unique_ids == whole.unique_ids
    streamed = open_stream(folders, "train", limit=2**30)
    drawn = names(streamed.read_batches(len(whole), seed=0, first=0, steps=1))
    assert sorted(drawn) == sorted(names([whole.gather_batch(torch.arange(len(whole)))]))


def test_a_streamed_training_learns_as_well_as_one_in_memory(tmp_path, monkeypatch):
    folder = write(tmp_path, seasonal(count=40, steps=600), row_group_steps=2000)
    settings = plan(max_steps=200)
    memory = load_training([folder], settings.window, settings.training)
    limited = settings.training.model_copy(update={"memory_mib": 1})
    streamed = load_training([folder], settings.window, limited)
    assert isinstance(memory.train, Windows) and isinstance(streamed.train, StreamedWindows)
    assert any("streamed from disk" in note for note in streamed.notes)
    fitted = [
        fit(d.train, d.validation, newest=d.newest, plan=settings, scaler={}, device=CPU) for d in (memory, streamed)
    ]
    losses = [f.best_loss for f in fitted]
    assert losses[1] == pytest.approx(losses[0], rel=0.05) and losses[1] < 0.9 * fitted[1].history[0]["train_loss"]
    assert any("refitted through validation" in note for note in fitted[1].notes)
    assert fitted[1].forecaster.calibration is not None


TOGETHER = f"""
import os, sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[3])!r}]
import torch, test_stream as here
rank, folder = int(sys.argv[1]), here.Path(sys.argv[2])
torch.distributed.init_process_group("gloo", init_method=f"file://{{folder}}/meet", rank=rank, world_size=2)
world, settings = here.World(rank, 2), here.plan(memory_mib=2, workers=2)
data = here.load_training([folder], settings.window, settings.training, world=world)
assert isinstance(data.train, here.StreamedWindows) and bool(len(data.newest)) == world.leads
checkpoint = here.Checkpoint(folder / "a.safetensors", "a", writes=world.leads)
given = {{"checkpoint": checkpoint, "world": world, "device": here.CPU, "newest": data.newest}}
here.fit(data.train, data.validation, plan=settings, scaler={{}}, **given)
torch.distributed.destroy_process_group()
os._exit(0)  # destructors of torch abort a process that used gloo, now and then, once its work is done
"""


def test_two_processes_stream_and_one_has_nothing_of_the_validation(tmp_path):
    """Its single row group is the other's; both refit."""
    folder = write(tmp_path, seasonal(count=40, steps=600), row_group_steps=2000)
    commands = [[sys.executable, "-c", TOGETHER, str(rank), str(folder)] for rank in range(2)]
    ranks = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    errors = [rank.communicate(timeout=120)[1][-2000:] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], errors
    kept = Checkpoint(folder / "a.safetensors", "a")
    assert kept.is_finished and kept.result("refit from scratch")
    memory = load_training([folder], plan().window, plan().training)
    alone = fit(memory.train, memory.validation, newest=memory.newest, plan=plan(), scaler={}, device=CPU)
    assert kept.result("search from scratch")["best_loss"] == pytest.approx(alone.best_loss, rel=0.05)


def test_a_process_without_windows_is_told_so(tmp_path):
    short = {"a": np.full(100, np.nan), "b": np.arange(400.0)}
    folder = write(tmp_path, short, row_group_steps=1)
    with pytest.raises(StreamError, match=r"process 1 of 2 hold no window to train on; set training.workers to 1"):
        open_stream([folder], "train", limit=2**30, world=World(0, 2))


MEASURE = f"""
import json, sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[3])!r}]
import test_stream as here
folder, mib = here.Path(sys.argv[1]), int(sys.argv[2])
settings = here.plan(max_steps=60, memory_mib=mib, batch_size=1024, refit=True)
data = here.load_training([folder], settings.window, settings.training)
windows = len(data.train)
if isinstance(data.train, here.StreamedWindows):
    steps = windows // 4096
    for _ in data.train.read_batches(4096, seed=0, first=0, steps=steps):
        pass
here.fit(data.train, data.validation, newest=data.newest, plan=settings, scaler={{}}, device=here.CPU)
# Not ru_maxrss: a child begins with that of the process that started it.
status = here.Path("/proc/self/status").read_text()
peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
print(json.dumps([type(data.train).__name__, windows, peak]))
"""


def peak(folder: Path, mib: int) -> tuple[str, int, float]:
    """Peak memory in MiB of a process that trains on the folder's windows and reads them to the end."""
    command = [sys.executable, "-c", MEASURE, str(folder), str(mib)]
    return tuple(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


CONSTANT_MIB = 64
"""Beyond the limit: the network's step, the sample of the validation, and what the allocator keeps."""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_stays_under_the_limit_while_rows_grow_a_hundredfold(tmp_path):
    limit, steps = 48, 20_000
    sizes = {}
    for count in (10, 100, 1000):
        rng = np.random.default_rng(0)
        walks = {f"s{i:04d}": rng.normal(size=steps).cumsum() for i in range(count)}
        sizes[count] = peak(write(tmp_path / str(count), walks, row_group_steps=1 << 17), limit)
    base = peak(write(tmp_path / "tiny", {"a": np.arange(200.0)}, row_group_steps=1 << 17), limit)[2]
    print(base, sizes)
    assert [sizes[n][0] for n in (100, 1000)] == ["StreamedWindows", "StreamedWindows"]
    assert sizes[1000][1] > 99 * sizes[10][1] > 10**7
    for _, _, peak_mib in sizes.values():
        assert peak_mib - base < limit + CONSTANT_MIB
    assert sizes[1000][2] - sizes[100][2] < 0.5 * limit, "in memory, the tenfold windows would take 600 MiB more"
