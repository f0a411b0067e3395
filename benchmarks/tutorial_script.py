"""The tutorial's five steps as a plain script that uses nothing of Evergreen: what the preset is compared with.

    python -m benchmarks.tutorial_script [--seed 0] [--epochs 100] [--plot tutorial.png]

It prints what the tutorial prints. Added are a seed and what the comparison needs: the losses and the forecasts.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

SEQ_LENGTH = 10
WAVE = np.sin(np.linspace(0, 100, 1000))


class LSTMModel(nn.Module):
    """An LSTM that starts from zero states, and a linear layer on its last step."""

    def __init__(self, input_dim: int, hidden_dim: int, layer_dim: int, output_dim: int) -> None:
        super().__init__()
        self.hidden_dim, self.layer_dim = hidden_dim, layer_dim
        self.lstm = nn.LSTM(input_dim, hidden_dim, layer_dim, batch_first=True)
        self.fc = nn.Linear(hidden_dim, output_dim)

    def forward(self, x: Tensor) -> Tensor:
        state = (self.layer_dim, x.size(0), self.hidden_dim)
        hidden_states, _ = self.lstm(x, (torch.zeros(*state), torch.zeros(*state)))
        predicted: Tensor = self.fc(hidden_states[:, -1, :])
        return predicted


def create_sequences(data: np.ndarray, seq_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Every stretch of `seq_length` values, and the value after each."""
    starts = range(len(data) - seq_length)
    return np.array([data[i : i + seq_length] for i in starts]), np.array([data[i + seq_length] for i in starts])


def as_tensors(data: np.ndarray) -> tuple[Tensor, Tensor]:
    """Inputs (W, SEQ_LENGTH, 1) and targets (W, 1) in single precision."""
    x, y = create_sequences(data, SEQ_LENGTH)
    return torch.tensor(x[:, :, None], dtype=torch.float32), torch.tensor(y[:, None], dtype=torch.float32)


@dataclass
class Trained:
    """What the script leaves."""

    model: LSTMModel
    losses: list[float]
    predicted: np.ndarray
    """(W, 1), the model on its own training windows."""


def train(*, seed: int = 0, epochs: int = 100) -> Trained:
    """Steps 2 to 5, but for the plot."""
    train_x, train_y = as_tensors(WAVE)
    torch.manual_seed(seed)
    model = LSTMModel(input_dim=1, hidden_dim=100, layer_dim=1, output_dim=1)
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for epoch in range(epochs):
        model.train()
        loss = criterion(model(train_x), train_y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if (epoch + 1) % 10 == 0:
            print(f"Epoch [{epoch + 1}/{epochs}], Loss: {loss.item():.4f}")
    model.eval()
    return Trained(model, losses, model(train_x).detach().numpy())


def draw(predicted: np.ndarray) -> Figure:
    """The plot of step 5."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    steps = np.arange(SEQ_LENGTH, len(WAVE))
    figure = pyplot.figure(figsize=(12, 6))
    pyplot.plot(steps, WAVE[SEQ_LENGTH:], label="Original Data")
    pyplot.plot(steps, predicted, label="Predicted Data", linestyle="--")
    pyplot.title("LSTM Model Predictions vs. Original Data")
    pyplot.xlabel("Time Step")
    pyplot.ylabel("Value")
    pyplot.legend()
    return figure


def main() -> None:
    """Train, print, draw."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--epochs", type=int, default=100)
    made.add_argument("--plot", type=Path, help="PNG to write")
    options = made.parse_args()
    trained = train(seed=options.seed, epochs=options.epochs)
    if options.plot:
        draw(trained.predicted).savefig(options.plot)


if __name__ == "__main__":
    main()
