"""Stream the windows of a dataset that is larger than memory, in an order that the seed decides.

The order of an epoch: the row groups, shuffled, are cut into blocks that fit into memory, and the windows of a block
are shuffled together. While one block is drawn from, the next is read. Every window comes once an epoch. The seed
decides the order without any reading, so that a training that goes on after N steps skips the windows it has seen.

Shapes: B windows of a batch, G row groups, N steps, W windows, K series.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from lstm_model.compute.prefetch import prefetch
from lstm_model.compute.process_group import ALONE, World
from lstm_model.contracts.windows_meta import Split, WindowsMeta, read_common_meta
from lstm_model.windows.in_memory import Batch, Windows, concat_windows, gather_static
from lstm_model.windows.layout import Layout, Segment, parse_segments

BLOCK_SHARE = 4
"""A block takes this part of the limit: one is in use, the next is there or being read, and reading takes as much again
to decompress rows and to find their windows."""
PER_WINDOW = 16
"""Bytes that a window in memory takes beside its tensors: its cutoff, its place in the order."""


class StreamError(ValueError):
    """Windows that cannot be streamed within the memory limit, or by this number of processes."""


@dataclass(frozen=True)
class RowGroup:
    """One row group of one windows file, with its number of windows and their size in memory."""

    path: Path
    number: int
    layout: Layout
    windows: int = 0
    nbytes: int = 0


@dataclass(frozen=True)
class StreamedWindows:
    """One split, or several, on disk. `outline` has its geometry and the first and last window of each series."""

    outline: Windows
    groups: tuple[RowGroup, ...]
    limit: int
    """Bytes of memory."""
    rank: int
    meta: WindowsMeta = field(repr=False)

    def __len__(self) -> int:
        return sum(group.windows for group in self.groups)

    def read_batches(self, size: int, *, seed: int, first: int, steps: int) -> Iterator[Batch]:
        """Yield batches of `size` windows for the steps after `first`, up to `steps`."""
        blocks = prefetch(self._read_blocks(seed, first * size))
        block, order = next(blocks)
        for _ in range(first, steps):
            parts: list[Batch] = []
            missing = size
            while missing:
                if not len(order):
                    del block, order  # before the next one but one is read
                    block, order = next(blocks)
                parts.append(block.gather_batch(order[:missing]))
                order, missing = order[missing:], missing - len(order[:missing])
            yield parts[0] if len(parts) == 1 else _join_batches(parts)

    def plan_order(self, seed: int) -> Iterator[tuple[Sequence[RowGroup], Tensor]]:
        """Yield blocks of row groups without end, each with the order of its windows; read nothing."""
        epoch = 0
        while True:
            generator = torch.Generator().manual_seed(hash((seed, self.rank, epoch)) % 2**62)
            groups = [self.groups[g] for g in torch.randperm(len(self.groups), generator=generator)]
            for block in _form_blocks(groups, self.limit // BLOCK_SHARE):
                total = sum(group.windows for group in block)
                yield block, torch.randperm(total, generator=generator)
            epoch += 1

    def take(self, index_W: Tensor) -> Windows:
        """Return these windows (ascending) in memory, without the steps that none of them reads."""
        wanted, parts, at = index_W.numpy(), [], 0
        for group in self.groups:
            mine = wanted[(wanted >= at) & (wanted < at + group.windows)] - at
            if len(mine):
                parts.append(_drop_unread_steps(self.read_groups([group]).take(torch.from_numpy(mine))))
            at += group.windows
        while len(parts) > 1:  # in pairs: one after another, the first would be copied as often as there are groups
            parts = [reduce(concat_windows, parts[i : i + 2]) for i in range(0, len(parts), 2)]
        return parts[0] if parts else self.outline.take(torch.empty(0, dtype=torch.int64))

    def _read_blocks(self, seed: int, skipped: int) -> Iterator[tuple[Windows, Tensor]]:
        """Read the blocks, from the first window that is not skipped."""
        for groups, order in self.plan_order(seed):
            if skipped >= len(order):
                skipped -= len(order)
                continue
            yield self.read_groups(groups), order[skipped:]
            skipped = 0

    def read_groups(self, groups: Sequence[RowGroup]) -> Windows:
        parts = []
        for layout in sorted({group.layout for group in groups}, key=str):
            segments = [s for g in groups if g.layout == layout for s in _read_segments(g, self.meta)]
            parts.append(Windows.from_segments(segments, layout, self.meta.static))
        return reduce(concat_windows, parts)


def open_stream(
    folders: Sequence[Path], split: Split, *, limit: int, stride: int | None = None, world: World = ALONE
) -> StreamedWindows:
    """Open a split of windows datasets of one geometry, in one pass over this process's row groups.

    Args:
        folders: each with `windows.json` and the split's Parquet files.
        split: which.
        limit: bytes of memory that the windows may take.
        stride: instead of the split's own.
        world: who else reads.

    Raises:
        StreamError: a row group is too large for the limit, or there are none for one of the processes.
    """
    meta = read_common_meta(folders)
    layout = Layout.from_meta(meta, split, stride=stride)
    files = [path for folder in folders for path in sorted((folder / f"split={split}").glob("*.parquet"))]
    numbered = [(path, number) for path in files for number in range(pq.ParquetFile(path).num_row_groups)]
    if split == "train" and len(numbered) < world.size:
        raise StreamError(
            f"{len(numbered)} row groups of windows cannot be shared by {world.size} processes; set training.workers "
            f"to {max(1, len(numbered))} or raise training.memory_mib"
        )
    groups, ends = [], _SeriesEnds()
    for path, number in numbered[world.rank :: world.size]:
        group = RowGroup(path, number, layout)
        windows = Windows.from_segments(list(_read_segments(group, meta)), layout, {})
        ends.add(windows)
        nbytes = windows.nbytes + PER_WINDOW * len(windows)
        if len(windows):
            groups.append(replace(group, windows=len(windows), nbytes=nbytes))
    _check_limit(groups, limit)
    if split == "train" and world.size > 1 and not groups:
        raise StreamError(
            f"the row groups of process {world.rank + 1} of {world.size} hold no window to train on; set "
            "training.workers to 1 or raise training.memory_mib"
        )
    return StreamedWindows(ends.make_outline(layout, meta), tuple(groups), limit, world.rank, meta)


def join_windows(a: Windows | StreamedWindows, b: Windows | StreamedWindows) -> Windows | StreamedWindows:
    """Return the windows of both, for a refit through validation."""
    if isinstance(a, Windows) and isinstance(b, Windows):
        return concat_windows(a, b)
    assert isinstance(a, StreamedWindows) and isinstance(b, StreamedWindows), "both in memory, or both streamed"
    return replace(a, outline=concat_windows(a.outline, b.outline), groups=a.groups + b.groups)


def estimate_bytes(folders: Sequence[Path], split: Split, *, stride: int) -> int:
    """Return the most bytes that the windows of a split take in memory, by the files' footers."""
    meta, steps, value = read_common_meta(folders), 0, 4
    for folder in folders:
        for path in (folder / f"split={split}").glob("*.parquet"):
            metadata = pq.ParquetFile(path).metadata
            for number in range(metadata.num_row_groups):
                group = metadata.row_group(number)
                columns = [group.column(i) for i in range(group.num_columns)]
                values, exact = (
                    sum(c.num_values for c in columns if c.path_in_schema.startswith(f"{name}."))
                    for name in ("values", "exact")
                )
                exact = max(0, exact - group.num_rows)  # an empty list counts as one value
                steps, value = steps + values + exact, 8 if exact else value
    observed, last_real = 1, 8
    covariates = 4 * (len(meta.past) + len(meta.future))
    return steps * (value + observed + last_real + covariates) + steps // stride * (16 + PER_WINDOW)


class _SeriesEnds:
    """The first and the last cutoff of each series, as arrays: there may be millions."""

    def __init__(self) -> None:
        self._parts: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = []

    def add(self, windows: Windows) -> None:
        if not len(windows):
            return
        order = np.lexsort((windows.cutoff_W, windows.series_W.numpy()))
        series, cutoffs = windows.series_W.numpy()[order], windows.cutoff_W[order]
        firsts = np.flatnonzero(np.diff(series, prepend=-1))
        names = np.array([sys.intern(windows.unique_ids[k]) for k in series[firsts]], object)
        self._parts.append((names, cutoffs[firsts], cutoffs[np.append(firsts[1:], len(series)) - 1]))

    def collect(self) -> tuple[list[str], NDArray[Any]]:
        """Return the names, ascending, and their cutoffs (K, 2)."""
        if not self._parts:
            return [], np.empty((0, 2))
        names, low, high = map(np.concatenate, zip(*self._parts, strict=True))
        order = np.argsort(names, kind="stable")  # almost sorted: row groups follow the series
        names, low, high = names[order], low[order], high[order]
        firsts = np.flatnonzero(np.append(True, names[1:] != names[:-1]))
        ends = np.minimum.reduceat(low, firsts), np.maximum.reduceat(high, firsts)
        return names[firsts].tolist(), np.stack(ends, axis=1)

    def make_outline(self, layout: Layout, meta: WindowsMeta) -> Windows:
        ids, cutoffs = self.collect()
        empty = Windows.from_segments([], layout, {})
        return replace(
            empty,
            unique_ids=ids,
            past_NP=torch.empty((0, len(meta.past))),
            future_NF=torch.empty((0, len(meta.future))),
            static_KS=gather_static(ids, meta.static),
            starts_W=torch.zeros(2 * len(ids), dtype=torch.int64),
            series_W=torch.arange(len(ids)).repeat_interleave(2),
            cutoff_W=cutoffs.reshape(-1).astype(empty.cutoff_W.dtype),
        )


def _check_limit(groups: Sequence[RowGroup], limit: int) -> None:
    largest = max((group.nbytes for group in groups), default=0)
    if BLOCK_SHARE * largest > limit:
        need = -(-BLOCK_SHARE * largest // 2**20)
        raise StreamError(
            f"training.memory_mib leaves {limit / 2**20:.0f} MiB to a process, but the largest row group of windows "
            f"can be streamed within no less than {need} MiB; raise it, use fewer training.workers or a larger "
            "window.stride"
        )


def _form_blocks(groups: Sequence[RowGroup], most: int) -> Iterator[list[RowGroup]]:
    """Yield neighbouring row groups together, up to `most` bytes."""
    block: list[RowGroup] = []
    for group in groups:
        if block and sum(g.nbytes for g in block) + group.nbytes > most:
            yield block
            block = []
        block.append(group)
    if block:
        yield block


def _join_batches(parts: Sequence[Batch]) -> Batch:
    return Batch(*(torch.cat(tensors) for tensors in zip(*(vars(part).values() for part in parts), strict=True)))


def _read_segments(group: RowGroup, meta: WindowsMeta) -> Iterator[Segment]:
    for batch in pq.ParquetFile(group.path).read_row_group(group.number).to_batches():
        yield from parse_segments(batch, meta)


def _drop_unread_steps(windows: Windows) -> Windows:
    """Return the windows without the steps that none reads; overlaps and distances within them stay."""
    starts: NDArray[np.int64] = windows.starts_W.numpy()
    edges = np.zeros(len(windows.values_N) + 1, np.int64)
    np.add.at(edges, starts, 1)
    np.add.at(edges, starts + windows.context + windows.horizon, -1)
    kept = np.cumsum(edges[:-1]) > 0
    at, mask = np.cumsum(kept) - 1, torch.from_numpy(kept)
    last_real = windows.last_real_N
    return replace(
        windows,
        values_N=windows.values_N[mask],
        observed_N=windows.observed_N[mask],
        last_real_N=torch.from_numpy(at)[last_real[mask]] if len(last_real) else last_real,
        past_NP=windows.past_NP[mask],
        future_NF=windows.future_NF[mask],
        starts_W=torch.from_numpy(at[starts]),
    )
