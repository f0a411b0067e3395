"""Optimizers of torch that do not import its compiler: nothing here is compiled, and the import takes seconds."""

from __future__ import annotations

import inspect

import torch


def _without_compiler(optimizer: type[torch.optim.Optimizer]) -> dict[str, object]:
    """Return the methods that torch wraps for its compiler, as they are below the wrapper.

    The wrapper imports `torch._dynamo` at the first call. All that it does without a compiled function is to turn
    gradients off in `step`. A method that a later torch does not wrap is left as it is.
    """
    names = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    methods: dict[str, object] = {name: inspect.unwrap(getattr(optimizer, name)) for name in names}
    return methods | {"step": torch.no_grad()(inspect.unwrap(optimizer.step))}


Adam: type[torch.optim.Adam] = type("Adam", (torch.optim.Adam,), _without_compiler(torch.optim.Adam))
AdamW: type[torch.optim.AdamW] = type("AdamW", (torch.optim.AdamW,), _without_compiler(torch.optim.AdamW))
