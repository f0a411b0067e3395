import logging
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from torch import nn

from lstm_model.compute import device as device_module
from lstm_model.compute.device import DeviceChoice, fits_on_device, hold_gpu, select_device
from lstm_model.training.microbatch import MicroBatches, OutOfMemoryError
from lstm_model.windows.in_memory import Batch

GPU = DeviceChoice("cuda:0", "bf16", None, "a fake")


@pytest.fixture
def fake_gpus(monkeypatch):
    """Two CUDA devices that exist in name only."""
    monkeypatch.setattr(device_module, "is_available", lambda kind: kind in ("cuda", "cpu"))
    monkeypatch.setattr(device_module, "describe_device", lambda device: "a fake GPU")
    monkeypatch.setattr(device_module, "identify_gpu", lambda device: f"uuid-{device[-1]}")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)


def test_cpu_is_there_and_the_reason_says_what_was_chosen():
    choice = select_device("cpu", "fp32")
    assert (choice.device, choice.precision) == ("cpu", "fp32")
    assert "cpu" in choice.reason and "fp32: requested" in choice.reason


def test_auto_precision_on_a_cpu_is_measured():
    choice = select_device("cpu", "auto")
    assert choice.precision in ("fp32", "bf16")
    assert "ms" in choice.reason or "cannot" in choice.reason


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_an_absent_device_is_a_clear_error(kind, monkeypatch):
    monkeypatch.setattr(device_module, "is_available", lambda kind: kind == "cpu")
    with pytest.raises(ValueError, match=f"training.device is '{kind}'.*finds only cpu"):
        select_device(kind)


def test_bf16_that_the_cpu_cannot_run_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(device_module, "measure_step_seconds", lambda *, bf16: _raise(RuntimeError("no primitive")))
    assert select_device("cpu", "auto").precision == "fp32"
    with pytest.raises(ValueError, match="cannot run an LSTM in bf16; use 'auto' or 'fp32'"):
        select_device("cpu", "bf16")


def test_bf16_is_chosen_only_where_it_is_faster(monkeypatch):
    monkeypatch.setattr(device_module, "measure_step_seconds", lambda *, bf16: 0.001 if bf16 else 0.002)
    assert select_device("cpu", "auto").precision == "bf16"
    monkeypatch.setattr(device_module, "measure_step_seconds", lambda *, bf16: 0.002 if bf16 else 0.001)
    assert select_device("cpu", "auto").precision == "fp32"
    assert select_device("cpu", "bf16").precision == "bf16", "slower, but asked for"


def test_order_and_the_first_free_gpu(fake_gpus, tmp_path):
    assert select_device(lock_folder=tmp_path).device == "cuda:0"
    with hold_gpu(GPU, tmp_path):
        choice = select_device(lock_folder=tmp_path)
    assert (choice.device, choice.precision) == ("cuda:1", "bf16")
    assert select_device("cpu", "fp32").device == "cpu"


def test_a_second_training_waits_for_the_gpu_and_says_so(fake_gpus, tmp_path, caplog):
    order = []

    def second():
        with hold_gpu(GPU, tmp_path):
            order.append("second")

    with caplog.at_level(logging.INFO, logger="lstm_model.compute.device"):
        with hold_gpu(GPU, tmp_path):
            thread = threading.Thread(target=second)
            thread.start()
            time.sleep(0.3)
            order.append("first done")
        thread.join(10)
    assert order == ["first done", "second"]
    assert "another training holds" in caplog.text


def test_the_lock_is_free_when_its_holder_is_killed(fake_gpus, tmp_path):
    hold = (
        "import sys,time; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire(); "
        "print('held', flush=True); time.sleep(60)"
    )
    lock = tmp_path / "gpu-uuid-0.lock"
    holder = subprocess.Popen([sys.executable, "-c", hold, str(lock)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    assert select_device(lock_folder=tmp_path).device == "cuda:1"
    holder.kill()
    holder.wait()
    with hold_gpu(GPU, tmp_path):
        assert not device_module.is_free(FileLock(lock))


def test_a_cpu_needs_no_lock(tmp_path):
    with hold_gpu(select_device("cpu", "fp32"), tmp_path / "locks"):
        assert not Path(tmp_path / "locks").exists()


def test_what_fits(monkeypatch):
    monkeypatch.setattr(device_module, "measure_free_bytes", lambda device: 1000)
    assert fits_on_device(500, GPU) and not fits_on_device(501, GPU)
    monkeypatch.undo()
    assert fits_on_device(1 << 60, select_device("cpu", "fp32")), "on a CPU the data are where they train"


class SmallMemory(nn.Module):
    """A linear model that cannot take more than `most` windows at once."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.linear, self.most, self.sizes = nn.Linear(6, 3), most, []

    def loss_sum(self, batch: Batch):
        self.sizes.append(len(batch.target_BW))
        if len(batch.target_BW) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        error = self.linear(batch.target_BW[:, :6]) - batch.target_BW[:, 6:]
        return (error.square() * batch.observed_BW[:, 6:]).sum()


def batch_of(rows: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    empty = torch.empty(rows, 0)
    observed = torch.rand(rows, 9, generator=generator) > 0.3
    return Batch(torch.randn(rows, 9, generator=generator), observed, empty, empty, empty, torch.zeros(rows, 1))


def test_out_of_memory_halves_the_part_and_keeps_the_gradient():
    torch.manual_seed(0)
    large = SmallMemory(most=99)
    small = SmallMemory(most=3)
    small.load_state_dict(large.state_dict())
    whole, parts = MicroBatches(large, large.loss_sum, horizon=3), MicroBatches(small, small.loss_sum, horizon=3)
    batch = batch_of(21)
    torch.testing.assert_close(parts.backward(batch), whole.backward(batch))
    torch.testing.assert_close(small.linear.weight.grad, large.linear.weight.grad)
    assert whole.size is None and parts.size == 3
    small.sizes.clear()
    parts.backward(batch)
    assert small.sizes == [3] * 7, "the size that fits is kept"


def test_a_window_that_does_not_fit_is_a_clear_error():
    model = SmallMemory(most=0)
    with pytest.raises(OutOfMemoryError, match="single window"):
        MicroBatches(model, model.loss_sum, horizon=3).backward(batch_of(8))


def test_other_errors_are_not_swallowed():
    model = SmallMemory(most=9)
    broken = MicroBatches(model, lambda _: _raise(RuntimeError("shapes differ")), horizon=3)
    with pytest.raises(RuntimeError, match="shapes differ"):
        broken.backward(batch_of(8))


def _raise(error: Exception):
    raise error
