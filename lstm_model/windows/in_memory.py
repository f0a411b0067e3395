"""Load segments into memory and view them as windows.

A window is one context + horizon pair; it is a view into its segment, never a copy, so a billion windows take the room
of the series.

Shapes: B windows, L context, H horizon, W = L + H, N steps of all segments, P/F/S past/future/static covariates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lstm_model.contracts.settings import WindowSpec
from lstm_model.contracts.windows_meta import EncodedCovariates, Split, read_common_meta
from lstm_model.series.series_table import choose_precision, make_empty_covariates
from lstm_model.timeline.frequency import INTEGER, Frequency
from lstm_model.windows.layout import Layout, Segment, read_segments

NEAR_LEVEL = 0.1
"""A context has a level to take out where no value is further from the mean than this share of it."""


@dataclass(frozen=True)
class Batch:
    """The input of a network; covariates in their own units, last dimensions may be 0."""

    target_BW: Tensor
    """float32 above `level_B1`, NaN where padded, missing or unknown; the context is [:, :L], the future [:, L:]."""
    observed_BW: Tensor
    """bool: a real value, which may be trained on and scored when it is in the horizon."""
    past_BLP: Tensor
    future_BWF: Tensor
    static_BS: Tensor
    level_B1: Tensor
    """float32: what was taken out of the targets in float64, 0 for windows that float32 resolves as they are."""

    def to(self, device: torch.device) -> Batch:
        return Batch(*(t.to(device, non_blocking=True) for t in vars(self).values()))


@dataclass(frozen=True)
class Windows:
    """One split in memory or on a device; windows are gathered by index, never stored."""

    context: int
    horizon: int
    frequency: str
    lead: int
    """Steps before each cutoff: the context, or more if a season is longer and baselines need it."""
    unique_ids: list[str]
    values_N: Tensor
    """float32, or float64 where float32 would round the steps of any series."""
    exact_K: Tensor
    """bool: the series whose steps float32 would round; empty where there is none. The values of others are float32,
    of whichever type `values_N` is, so that what is computed of them does not depend on their neighbours."""
    observed_N: Tensor
    last_real_N: Tensor
    """int64: the nearest real value at or before each step; empty where every step is real."""
    past_NP: Tensor
    future_NF: Tensor
    static_KS: Tensor
    """One row for each of `unique_ids`."""
    starts_W: Tensor
    """int64: the position of each window's first step in the flat arrays."""
    series_W: Tensor
    """int64: index into `unique_ids`."""
    cutoff_W: NDArray[Any]
    """Last `ds` of each context, datetime64[us] or int64."""

    def __len__(self) -> int:
        return len(self.starts_W)

    @property
    def nbytes(self) -> int:
        return sum(t.nbytes for t in vars(self).values() if isinstance(t, Tensor))

    @property
    def outline(self) -> Windows:
        """Return windows that show the geometry and the time covered; in memory, these are the windows themselves."""
        return self

    def to(self, device: torch.device | str) -> Windows:
        moved: Any = {name: t.to(device) for name, t in vars(self).items() if isinstance(t, Tensor)}
        return replace(self, **moved)

    def gather_batch(self, index_B: Tensor) -> Batch:
        """Gather the windows with these indices, on the device that holds the data.

        Where a gap reaches the cutoff, the last real value is held: the value that repaired the gap may have been
        drawn towards the first one after it, which was not known at the cutoff.
        """
        index_B = index_B.to(self.starts_W.device)
        at_BW = self._locate_steps(index_B)
        values_BW = self._gather_held(at_BW)
        level_B1 = self._find_level(values_BW[:, : self.context], index_B)
        return Batch(
            target_BW=(values_BW - level_B1).float() if len(self.exact_K) else values_BW,
            level_B1=level_B1,
            observed_BW=self.observed_N[at_BW],
            past_BLP=self.past_NP[at_BW[:, : self.context]],
            future_BWF=self.future_NF[at_BW],
            static_BS=self.static_KS[self.series_W[index_B]],
        )

    def gather_values(self, index_B: Tensor) -> Tensor:
        """Return (B, W) the targets of the windows with these indices, contexts held as in a batch, level included."""
        return self._gather_held(self._locate_steps(index_B.to(self.starts_W.device)))

    def gather_truth(self, index_B: Tensor) -> Tensor:
        """Return (B, H) the targets in the horizons of these windows, level included; NaN where not observed."""
        at_BH = self._locate_steps(index_B.to(self.starts_W.device))[:, self.context :]
        return torch.where(self.observed_N[at_BH], self.values_N[at_BH], torch.nan)

    def match_precision(self, values_WH: NDArray[Any]) -> NDArray[Any]:
        """Return values of these windows with the precision of the targets: float32 where a series is no finer."""
        rounded_WH = values_WH.astype(np.float32, copy=False)
        if not len(self.exact_K):
            return rounded_WH
        return np.where(self.exact_K[self.series_W].cpu().numpy()[:, None], values_WH, rounded_WH)

    def _gather_held(self, at_BW: Tensor) -> Tensor:
        held_BL = self._hold_last_real(at_BW[:, : self.context])
        return self.values_N[torch.cat([held_BL, at_BW[:, self.context :]], dim=1)]

    def _locate_steps(self, index_B: Tensor) -> Tensor:
        return self.starts_W[index_B, None] + torch.arange(self.context + self.horizon, device=self.starts_W.device)

    def _find_level(self, context_BL: Tensor, index_B: Tensor) -> Tensor:
        """Return (B, 1) the mean of each context that float32 would round and that stays near its mean; 0 of others.

        A context that goes far from its mean has a scale that float32 resolves beside it.
        """
        if not len(self.exact_K):
            return context_BL.new_zeros((len(context_BL), 1))
        mean_B1 = context_BL.nanmean(1, keepdim=True).float()
        near_BL = (context_BL - mean_B1).abs() <= NEAR_LEVEL * mean_B1.abs()
        taken_B1 = (near_BL | context_BL.isnan()).all(1, keepdim=True) & ~mean_B1.isnan()
        return torch.where(taken_B1 & self.exact_K[self.series_W[index_B], None], mean_B1, 0.0)

    def take(self, index: Tensor) -> Self:
        """Return the windows with these indices, over the same data."""
        return replace(
            self,
            starts_W=self.starts_W[index],
            series_W=self.series_W[index],
            cutoff_W=self.cutoff_W[index.cpu().numpy()],
        )

    def gather_past(self, index_B: Tensor) -> Tensor:
        """Return (B, lead) the values before each cutoff, held like a context: the input of baselines."""
        index_B = index_B.to(self.starts_W.device)
        steps = torch.arange(self.context - self.lead, self.context, device=self.starts_W.device)
        return self.values_N[self._hold_last_real(self.starts_W[index_B, None] + steps)]

    def _hold_last_real(self, at_BL: Tensor) -> Tensor:
        """Return positions up to a cutoff, with those after the last real value moved back to it."""
        if not len(self.last_real_N):
            return at_BL
        return torch.minimum(at_BL, self.last_real_N[at_BL[:, -1:]])

    def compute_ds_WH(self) -> NDArray[Any]:
        """Return (W, H) the timestamps of each window's horizon."""
        steps = np.tile(np.arange(1, self.horizon + 1), len(self))
        ds = Frequency(self.frequency).advance(np.repeat(self.cutoff_W, self.horizon), steps)
        return ds.reshape(len(self), self.horizon)

    @classmethod
    def from_arrays(cls, target: list[NDArray[Any]], *, context: int, horizon: int, stride: int = 1) -> Self:
        """Make windows of plain 1-D arrays, one a series, without covariates; NaN is a missing value."""
        segments = [
            Segment(
                str(i),
                0,
                0,
                choose_precision(np.asarray(y)),
                np.isfinite(y),
                make_empty_covariates(len(y)),
                make_empty_covariates(len(y)),
            )
            for i, y in enumerate(target)
        ]
        layout = Layout(context=context, horizon=horizon, stride=stride, frequency=INTEGER, lead=context)
        return cls.from_segments(segments, layout, {})

    @classmethod
    def from_segments(
        cls, segments: list[Segment], layout: Layout, static: dict[str, list[float]], *, scored: bool = True
    ) -> Self:
        """Join segments and find the windows in them that have something to read and something to score.

        With `scored` off, windows without any observed target count too: their horizon is still to come.
        """
        ids = sorted({segment.unique_id for segment in segments})
        number = {unique_id: k for k, unique_id in enumerate(ids)}
        values = np.concatenate([np.empty(0, np.float32), *(s.values for s in segments)])
        observed = _join([s.observed for s in segments], np.bool_)
        starts, owners = _find_starts(segments, layout)
        keep = _are_readable(starts, observed, layout)
        if scored:
            keep &= _are_scorable(starts, observed, layout)
        starts, owners = starts[keep], owners[keep]
        series = np.array([number[s.unique_id] for s in segments], np.int64)
        return cls(
            context=layout.context,
            horizon=layout.horizon,
            frequency=layout.frequency,
            lead=layout.lead,
            unique_ids=ids,
            values_N=torch.from_numpy(values),
            exact_K=_find_exact(segments, number),
            observed_N=torch.from_numpy(observed),
            last_real_N=torch.from_numpy(_find_last_real(observed)),
            past_NP=torch.from_numpy(_join_covariates([s.past for s in segments])),
            future_NF=torch.from_numpy(_join_covariates([s.future for s in segments])),
            static_KS=gather_static(ids, static),
            starts_W=torch.from_numpy(starts),
            series_W=torch.from_numpy(series[owners] if len(owners) else owners),
            cutoff_W=_find_cutoffs(segments, starts, owners, layout),
        )


def concat_windows(a: Windows, b: Windows) -> Windows:
    """Return the windows of both, which must have one geometry and the same covariates, for a refit."""
    assert (a.context, a.horizon, a.frequency) == (b.context, b.horizon, b.frequency)
    ids = sorted({*a.unique_ids, *b.unique_ids})
    number = {unique_id: k for k, unique_id in enumerate(ids)}
    renumber = [torch.tensor([number[i] for i in w.unique_ids], dtype=torch.int64) for w in (a, b)]
    static = torch.zeros((len(ids), max(a.static_KS.shape[1], b.static_KS.shape[1])))
    for windows, new in zip((a, b), renumber, strict=True):
        static[new] = windows.static_KS
    observed = torch.cat([a.observed_N, b.observed_N])
    return Windows(
        context=a.context,
        horizon=a.horizon,
        frequency=a.frequency,
        lead=min(a.lead, b.lead),
        unique_ids=ids,
        values_N=torch.cat([a.values_N, b.values_N]),
        exact_K=_join_exact((a, b), renumber, len(ids)),
        observed_N=observed,
        last_real_N=torch.from_numpy(_find_last_real(observed.numpy())),
        past_NP=torch.cat([a.past_NP, b.past_NP]),
        future_NF=torch.cat([a.future_NF, b.future_NF]),
        static_KS=static,
        starts_W=torch.cat([a.starts_W, b.starts_W + len(a.values_N)]),
        series_W=torch.cat([renumber[0][a.series_W], renumber[1][b.series_W]]),
        cutoff_W=np.concatenate([a.cutoff_W, b.cutoff_W]),
    )


def load_windows(
    folders: Path | Sequence[Path],
    split: Split,
    *,
    stride: int | None = None,
    covariates: EncodedCovariates | None = None,
) -> Windows:
    """Read one split of a windows dataset written by `segments.write_windows`, at its own stride or another.

    Several folders are read as one: they have the same geometry and differ only in their series. With `covariates`,
    those that a model knows are read: its categories may be others than those of the data.
    """
    each = [folders] if isinstance(folders, Path) else folders
    meta = read_common_meta(each)
    if covariates is not None:
        meta = meta.model_copy(update=covariates.model_dump(include={"past", "future", "categories"}))
    segments = [segment for folder in each for segment in read_segments(folder, split, meta)]
    return Windows.from_segments(segments, Layout.from_meta(meta, split, stride=stride), meta.static)


def load_refit_validation(folders: Path | Sequence[Path], spec: WindowSpec) -> Windows | None:
    """Read the validation at the stride of the training, for a refit; None if it has that stride anyway."""
    if spec.stride == spec.evaluation_stride:
        return None
    return load_windows(folders, "validation", stride=spec.stride)


def _join(parts: list[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    return np.concatenate(parts).astype(dtype, copy=False) if parts else np.empty(0, dtype)


def _find_exact(segments: list[Segment], number: dict[str, int]) -> Tensor:
    exact = [number[s.unique_id] for s in segments if s.values.dtype == np.float64]
    mask_K = torch.zeros(len(number) if exact else 0, dtype=torch.bool)
    mask_K[exact] = True
    return mask_K


def _join_exact(parts: tuple[Windows, Windows], renumber: list[Tensor], num_series: int) -> Tensor:
    found = [new[w.exact_K] for w, new in zip(parts, renumber, strict=True) if len(w.exact_K)]
    mask_K = torch.zeros(num_series if found else 0, dtype=torch.bool)
    for series in found:
        mask_K[series] = True
    return mask_K


def _join_covariates(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate(parts) if parts else make_empty_covariates(0)


def gather_static(ids: list[str], static: dict[str, list[float]]) -> Tensor:
    """Return the encoded static covariates of these series, (K, S)."""
    width = len(next(iter(static.values()), []))
    return torch.tensor([static[i] for i in ids] if width else [], dtype=torch.float32).reshape(len(ids), width)


def _find_starts(segments: list[Segment], layout: Layout) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first position of each window in the joined arrays, and its segment.

    Strides count back from the end of a segment, so that the freshest window is always there.
    """
    lengths = np.array([len(s.values) for s in segments], np.int64)
    offsets = np.cumsum(lengths) - lengths
    last = lengths - layout.width
    counts = np.maximum(last // layout.stride + 1, 0)
    owners = np.repeat(np.arange(len(segments)), counts)
    rank = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = offsets[owners] + last[owners] - (counts[owners] - 1 - rank) * layout.stride
    return starts + layout.lead - layout.context, owners


def _are_readable(starts: NDArray[np.int64], observed: NDArray[np.bool_], layout: Layout) -> NDArray[np.bool_]:
    """Return a mask of the windows with enough real values to read."""
    return _count_observed(observed, starts, starts + layout.context) >= min(layout.min_context, layout.context)


def _are_scorable(starts: NDArray[np.int64], observed: NDArray[np.bool_], layout: Layout) -> NDArray[np.bool_]:
    """Return a mask of the windows with at least one real value to score."""
    cutoffs = starts + layout.context
    return _count_observed(observed, cutoffs, cutoffs + layout.horizon) > 0


def _count_observed(
    observed: NDArray[np.bool_], first: NDArray[np.int64], last: NDArray[np.int64]
) -> NDArray[np.int64]:
    real = np.concatenate([[0], np.cumsum(observed)])
    return np.asarray(real[last] - real[first])


def _find_last_real(observed: NDArray[np.bool_]) -> NDArray[np.int64]:
    if observed.all():
        return np.empty(0, np.int64)
    return np.maximum.accumulate(np.where(observed, np.arange(len(observed)), 0))


def _find_cutoffs(
    segments: list[Segment], starts: NDArray[np.int64], owners: NDArray[np.int64], layout: Layout
) -> NDArray[Any]:
    """Return the `ds` of the last step of each context."""
    lengths = np.array([len(s.values) for s in segments], np.int64)
    zero = np.cumsum(lengths) - lengths + np.array([s.padding for s in segments], np.int64)
    frequency = Frequency(layout.frequency)
    first = np.array([s.start for s in segments], frequency.dtype)
    if not len(starts):
        return first[:0]
    return frequency.advance(first[owners], starts + layout.context - 1 - zero[owners])
