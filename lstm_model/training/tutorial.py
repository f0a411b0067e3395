"""Train as the beginner's tutorial does: one step ahead, mean squared error, full batches, plain Adam.

Shapes: W windows, L context, H horizon.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from lstm_model.networks.models import LSTMModel
from lstm_model.networks.normalise import normalise_context
from lstm_model.training.optimizers import Adam
from lstm_model.training.progress import Progress, Reporter, average_losses
from lstm_model.windows.in_memory import Windows

logger = logging.getLogger(__name__)

LOG_EVERY = 10


def train_tutorial(
    network: LSTMModel, windows: Windows, *, normalisation: str, learning_rate: float, epochs: int, report: Reporter
) -> list[float]:
    """Train in place, step for step as the tutorial does, and return the loss of every epoch.

    The losses and the weights are those of the tutorial's own script, bit by bit, on the same number of threads; so
    torch's own number is left as it is. Targets that were not observed are left out.

    Raises:
        ValueError: the loss is no longer a number.
    """
    train_x, train_y, observed_WH = _whole_batch(windows, normalisation)
    criterion = nn.MSELoss()
    optimizer = Adam(network.parameters(), lr=learning_rate)
    losses: list[float] = []
    network.train()
    for epoch in range(1, epochs + 1):
        outputs = network(train_x)
        optimizer.zero_grad()
        loss = criterion(outputs if observed_WH is None else outputs[observed_WH], train_y)
        loss.backward()
        optimizer.step()
        losses.append(average_losses([loss.detach()], epoch))
        if epoch % LOG_EVERY == 0:
            logger.info("Epoch [%d/%d], Loss: %.4f", epoch, epochs, losses[-1])
        if report.due(epoch, epochs):
            report(Progress(epoch, epochs, losses[-1], None, epoch))
    return losses


def _whole_batch(windows: Windows, normalisation: str) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return all inputs (W, L, 1), all targets (W, H), and which targets were observed.

    Where every target was observed, the last one is None. Otherwise the targets are the observed ones, in one row.
    """
    batch = windows.gather_batch(torch.arange(len(windows)))
    context_WL = batch.target_BW[:, : windows.context]
    z_WL, _, loc_W1, scale_W1 = normalise_context(context_WL, normalisation, level_B1=batch.level_B1)
    y_WH = (batch.target_BW[:, windows.context :] - loc_W1) / scale_W1
    observed_WH = batch.observed_BW[:, windows.context :]
    inputs = z_WL[..., None].contiguous()
    return (inputs, y_WH.contiguous(), None) if observed_WH.all() else (inputs, y_WH[observed_WH], observed_WH)
