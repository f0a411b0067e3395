"""Choose the device and the precision of a training, with the reason; two trainings never share one GPU."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import nn

logger = logging.getLogger(__name__)

ORDER = ("cuda", "mps", "xpu", "cpu")
DATA_SHARE = 0.5
"""Share of a device's free memory that the data may take; activations and optimiser need the rest."""
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
WORTH = 1.1
"""bf16 must be this much faster than fp32 before a CPU trains in it."""


@dataclass(frozen=True)
class DeviceChoice:
    """Where and how to train. `threads` is None where training measures it."""

    device: str
    precision: str
    threads: int | None
    reason: str

    @property
    def torch_device(self) -> torch.device:
        return torch.device(self.device)


def select_device(request: str = "auto", precision: str = "auto", *, lock_folder: Path | None = None) -> DeviceChoice:
    """Pick the device (cuda, mps, xpu, cpu in this order unless requested) and the precision.

    Of several CUDA devices the first whose lock in `lock_folder` is free is taken.

    Raises:
        ValueError: the requested device or precision is not there; the message says what is.
    """
    kinds = [kind for kind in ORDER if is_available(kind)]
    if request != "auto" and request not in kinds:
        raise ValueError(
            f"training.device is {request!r}, but torch {torch.__version__} finds only {', '.join(kinds)} here; "
            f"use 'auto' or one of these, or install a torch build for {request}"
        )
    kind = kinds[0] if request == "auto" else request
    device = _first_free_gpu(lock_folder) if kind == "cuda" else kind
    why = "requested" if request != "auto" else f"first of {', '.join(ORDER)} that torch finds"
    chosen, reason = _precision(device, precision)
    return DeviceChoice(device, chosen, None, f"{device} ({describe_device(device)}): {why}; {chosen}: {reason}")


def is_available(kind: str) -> bool:
    """Return whether torch can use this kind of device here."""
    if kind == "cpu":
        return True
    backend = {"cuda": torch.cuda, "xpu": torch.xpu, "mps": torch.backends.mps}[kind]
    return bool(backend.is_available())


def describe_device(device: str) -> str:
    """Return the device's own name."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.get_device_name(device)
    if kind == "xpu":
        return str(torch.xpu.get_device_name(device))
    return "Apple GPU" if kind == "mps" else f"{torch.get_num_threads()} threads"


def fits_on_device(nbytes: int, choice: DeviceChoice) -> bool:
    """Return whether a data set may stay on the device for the whole training; on a CPU it already does."""
    free = measure_free_bytes(choice.device)
    return free is None or nbytes <= DATA_SHARE * free


def measure_free_bytes(device: str) -> int | None:
    """Return the free bytes of a GPU, None for a CPU."""
    kind = torch.device(device).type
    if kind == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if kind == "xpu":
        return int(torch.xpu.mem_get_info(device)[0])
    if kind == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return None


def measure_machine_bytes() -> int:
    """Return the bytes of this machine's memory, or of the control group that limits this process."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # none of that kind here, or "max"
            memory = min(memory, int(limit.read_text()))
    return memory


@contextmanager
def hold_gpu(choice: DeviceChoice, lock_folder: Path | None) -> Iterator[None]:
    """Hold the GPU's lock while training; a CPU needs none. Waits, and says so, while another training holds it.

    The lock is the operating system's: it is free as soon as its holder ends, however it ends.
    """
    if torch.device(choice.device).type == "cpu" or lock_folder is None:
        yield
        return
    lock = _lock(choice.device, lock_folder)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("waiting for %s: another training holds %s", choice.device, lock.lock_file)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def hold_gpus(choice: DeviceChoice, lock_folder: Path, *, every: bool) -> Iterator[None]:
    """Hold the GPU that trains, see `hold_gpu`; with `every`, all of this machine's, in one order."""
    several = every and choice.torch_device.type == "cuda"
    names = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if several else [choice.device]
    with ExitStack() as locks:
        for name in names:
            locks.enter_context(hold_gpu(replace(choice, device=name), lock_folder))
        yield


def identify_gpu(device: str) -> str:
    """Return a name of the physical GPU that does not depend on CUDA_VISIBLE_DEVICES."""
    at = torch.device(device)
    if at.type == "cuda":
        return str(torch.cuda.get_device_properties(at).uuid)
    return f"{at.type}-{at.index or 0}"


def _lock(device: str, lock_folder: Path) -> FileLock:
    lock_folder.mkdir(parents=True, exist_ok=True)
    return FileLock(lock_folder / f"gpu-{identify_gpu(device)}.lock")


def _first_free_gpu(lock_folder: Path | None) -> str:
    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    for device in devices:
        if lock_folder is None or is_free(_lock(device, lock_folder)):
            return device
    return devices[0]


def is_free(lock: FileLock) -> bool:
    try:
        with lock.acquire(timeout=0):
            return True
    except Timeout:
        return False


def _precision(device: str, request: str) -> tuple[str, str]:
    """Choose the precision; return it and the reason."""
    if request == "fp32":
        return "fp32", "requested"
    kind = torch.device(device).type
    supported, reason = _bf16_on_cpu() if kind == "cpu" else _bf16_on_gpu(kind)
    if request == "bf16" and not supported and "slower" not in reason:
        raise ValueError(f"training.precision is 'bf16', but on {device}: {reason}; use 'auto' or 'fp32'")
    if request == "bf16":
        return "bf16", "requested"
    return ("bf16" if supported else "fp32"), reason


def _bf16_on_gpu(kind: str) -> tuple[bool, str]:
    if kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return True, "the GPU multiplies bf16 in hardware"
    return False, "no bf16 matrix units known" if kind == "cuda" else f"bf16 not measured on {kind}"


def _bf16_on_cpu() -> tuple[bool, str]:
    """Time one small training step in both: many CPUs have no bf16 units, and some cannot run the LSTM in it at all."""
    try:
        with torch.random.fork_rng(devices=[]):
            bf16, fp32 = measure_step_seconds(bf16=True), measure_step_seconds(bf16=False)
    except RuntimeError:
        return False, "this CPU cannot run an LSTM in bf16"
    if fp32 > WORTH * bf16:
        return True, f"an LSTM step took {1000 * bf16:.1f} ms against {1000 * fp32:.1f} ms in fp32"
    return False, f"bf16 is slower on this CPU ({1000 * bf16:.1f} ms a step against {1000 * fp32:.1f} ms)"


def measure_step_seconds(*, bf16: bool) -> float:
    lstm = nn.LSTM(64, 64, batch_first=True)
    x = torch.randn(64, 8, 64)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out, _ = lstm(x)
        out.float().square().mean().backward()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
