"""Batches with a large workspace are computed in parts: the same gradient up to rounding, at every size."""

import pytest
import torch

from lstm_model.networks.models import LSTMModel
from lstm_model.training import microbatch
from lstm_model.training.microbatch import MicroBatches
from lstm_model.windows.in_memory import Windows


def gradient(windows, workspace, monkeypatch):
    monkeypatch.setattr(microbatch, "WORKSPACE", workspace)
    torch.manual_seed(0)
    network, parts = LSTMModel(1, 16, 1, 4), []

    def loss_sum(batch):
        parts.append(len(batch.target_BW))
        out_BH = network(batch.target_BW[:, :20, None])
        return (out_BH - batch.target_BW[:, 20:]).square().sum()

    batch = windows.gather_batch(torch.arange(30))
    loss = MicroBatches(network, loss_sum, horizon=4).backward(batch)
    return parts, loss, [p.grad.clone() for p in network.parameters()]


@pytest.mark.parametrize(("windows_a_part", "sizes"), [(30, [30]), (29, [15, 15]), (7, [6] * 5), (0, [1] * 30)])
def test_parts_are_equal_and_their_gradient_is_the_whole_one(windows_a_part, sizes, monkeypatch):
    windows = Windows.from_arrays([torch.sin(torch.arange(60.0)).numpy()], context=20, horizon=4)
    bytes_a_window = 16 * 16 * 20
    _, whole_loss, whole = gradient(windows, 2**30, monkeypatch)
    parts, loss, gradients = gradient(windows, windows_a_part * bytes_a_window, monkeypatch)
    assert parts == sizes
    torch.testing.assert_close(loss, whole_loss)
    torch.testing.assert_close(gradients, whole)


def test_the_usual_shapes_are_not_cut():
    """Two weeks of hours in segments of a day, two layers of 128: 64 windows and far more fit."""
    windows = Windows.from_arrays([torch.sin(torch.arange(2000.0)).numpy()], context=336, horizon=48)
    network = torch.nn.LSTM(128, 128, 2)
    network.reads = 14
    batches = MicroBatches(network, lambda batch: batch.target_BW.sum(), horizon=48)
    assert batches.choose_fast_size(windows.gather_batch(torch.arange(512))) == 512
