import subprocess
import sys

import pytest
import torch

from lstm_model.training import optimizers

STEPS = """
import sys, torch
from lstm_model.training.optimizers import {name}
weight = torch.nn.Parameter(torch.ones(3, 2))
optimizer = {name}([{{"params": [weight], "weight_decay": 0.1}}], fused=True)
optimizer.load_state_dict(optimizer.state_dict())
for _ in range(2):
    optimizer.zero_grad()
    weight.square().sum().backward()
    optimizer.step()
print(*sorted(name for name in sys.modules if name.startswith("torch._dynamo")))
"""


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_the_compiler_is_not_imported(name):
    done = subprocess.run([sys.executable, "-c", STEPS.format(name=name)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "", done.stdout


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
@pytest.mark.parametrize("fused", [True, None])
def test_steps_are_those_of_torch(name, fused):
    finals = []
    for module in (optimizers, torch.optim):
        generator = torch.Generator().manual_seed(0)
        weights = [torch.randn(shape, generator=generator).requires_grad_() for shape in ((8, 5), (5,))]
        groups = [{"params": weights[:1], "weight_decay": 0.1}, {"params": weights[1:]}]
        optimizer = getattr(module, name)(groups, lr=0.01, fused=fused)
        for step in range(5):
            optimizer.zero_grad(set_to_none=True)
            (weights[0] @ weights[1]).square().sum().backward()
            if step == 3:
                optimizer.load_state_dict(optimizer.state_dict())
            optimizer.step()
        finals.append((weights, optimizer.state_dict()))
    (own, own_state), (torchs, torchs_state) = finals
    assert all(torch.equal(a, b) for a, b in zip(own, torchs, strict=True))
    torch.testing.assert_close(own_state, torchs_state, rtol=0, atol=0)
