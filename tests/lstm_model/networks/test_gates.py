import pytest
import torch
from torch import nn

from lstm_model.networks.gates import compute_gates


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_gates_reproduce_the_module(layers, bias):
    torch.manual_seed(0)
    lstm = nn.LSTM(3, 7, layers, batch_first=True, bias=bias)
    x = torch.randn(1, 15, 3)
    h0, c0 = torch.randn(layers, 1, 7), torch.randn(layers, 1, 7)
    out, (hn, cn) = lstm(x, (h0, c0))
    gates = compute_gates(lstm, x[0], (h0[:, 0], c0[:, 0]))
    torch.testing.assert_close(torch.from_numpy(gates[-1].hidden_TD), out[0].detach(), rtol=0, atol=1e-5)
    for layer in range(layers):
        last_h, last_c = gates[layer].hidden_TD[-1], gates[layer].cell_TD[-1]
        torch.testing.assert_close(torch.from_numpy(last_h), hn[layer, 0].detach(), rtol=0, atol=1e-5)
        torch.testing.assert_close(torch.from_numpy(last_c), cn[layer, 0].detach(), rtol=0, atol=1e-5)


def test_gates_are_within_their_ranges_and_state_defaults_to_zero():
    lstm, x = nn.LSTM(2, 5, 2, batch_first=True), torch.randn(1, 9, 2)
    gates = compute_gates(lstm, x[0])
    torch.testing.assert_close(torch.from_numpy(gates[-1].hidden_TD), lstm(x)[0][0].detach(), rtol=0, atol=1e-5)
    for layer in gates:
        for gate in (layer.input_TD, layer.forget_TD, layer.output_TD):
            assert gate.shape == (9, 5)
            assert ((gate > 0) & (gate < 1)).all()
        assert (abs(layer.candidate_TD) < 1).all()


@pytest.mark.parametrize("lstm", [nn.LSTM(2, 3, bidirectional=True), nn.LSTM(2, 3, proj_size=1)])
def test_other_kinds_of_lstm_are_refused(lstm):
    with pytest.raises(ValueError, match="plain LSTMs only"):
        compute_gates(lstm, torch.zeros(4, 2))
