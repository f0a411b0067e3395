"""Receive a delivery of data: is it of the same problem as the one before, and what has changed in it?

A store belongs to one problem. The same source, by what the config says, is the same problem, whatever a file or a glob
holds now. Another path or query must prove that it is: files are moved, and globs are rewritten. The proof is the data:
their series have the values of the last delivery at the moments that both have.
"""

from __future__ import annotations

import logging
from typing import Literal

from pydantic import BaseModel

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.findings import DataError
from lstm_model.contracts.redaction import redact_address
from lstm_model.contracts.settings import PipelineConfig, Source, SourceKind
from lstm_model.lifecycle.registry import Registry
from lstm_model.lifecycle.stage_outputs import read_profile
from lstm_model.storage.checksums import DamagedFileError
from lstm_model.storage.manifest import DamagedArtifactError
from lstm_model.storage.notes import read_note, write_note
from lstm_model.storage.store import Store

logger = logging.getLogger(__name__)

FOLDER = "deliveries"
ENOUGH_EQUAL = 0.5
"""Share of the values that both deliveries have, which must be equal: others may have been revised."""
Flow = Literal["retrain", "forecast", "monitor", "backtest"]


class Delivery(BaseModel):
    """The data that a flow read last."""

    source: Source
    series: Artifact
    changes: list[str] = []
    """Since the delivery before, as sentences."""


def receive_delivery(
    series: Artifact, config: PipelineConfig, store: Store, *, flow: Flow, accept: bool = False
) -> None:
    """Compare the data with those that the flow read last, or that trained the champion; note them, and what changed.

    Args:
        series: the data as they are now.
        config: of the problem.
        store: of the problem.
        flow: which reads them.
        accept: take other data as the user's wish.

    Raises:
        DataError: they are of another problem, of another frequency, or on another clock.
    """
    before = _find_before(flow, store)
    if before is not None and before.series == series and before.source == config.source:
        return
    changes: list[str] = []
    if before is not None and not accept and Registry(store).get("champion") is not None:
        changes = _compare(before, series, config, store)
    for change in changes:
        logger.warning("%s", change)
    if accept:
        # The other flows compare with these data from now on, and not with those that they read last.
        for entry in store.backend.entries(FOLDER):
            store.backend.remove(entry.name)
    write_note(store.backend, f"{FOLDER}/{flow}.json", Delivery(source=config.source, series=series, changes=changes))


def read_changes(store: Store, *, flow: Flow) -> list[str]:
    """Return what has changed in the data that a flow read last, since those before."""
    delivery = _read(f"{FOLDER}/{flow}.json", store)
    return delivery.changes if delivery else []


def list_deliveries(store: Store) -> list[Artifact]:
    """Return the series that later ones are compared with, which a clean-up keeps."""
    found = (_read(entry.name, store) for entry in store.backend.entries(FOLDER))
    return [one.series for one in found if one is not None]


def _find_before(flow: Flow, store: Store) -> Delivery | None:
    return _read(f"{FOLDER}/{flow}.json", store) or _read(f"{FOLDER}/retrain.json", store)


def _read(name: str, store: Store) -> Delivery | None:
    try:
        return read_note(store.backend, name, Delivery)
    except FileNotFoundError:
        return None
    except DamagedFileError as error:
        logger.warning("%s. The data are not compared with those before", error)
        return None


def _compare(before: Delivery, series: Artifact, config: PipelineConfig, store: Store) -> list[str]:
    from lstm_model.lifecycle.delivery_changes import DeliveryPair  # with pandas, which unchanged data need not import
    from lstm_model.timeline.frequency import Frequency

    same_source = _identify(before.source) == _identify(config.source)
    try:
        store.verify(before.series)
        old, new = read_profile(before.series, store), read_profile(series, store)
        pair = DeliveryPair(before.series, series, store)
    except DamagedArtifactError as error:
        if same_source:
            logger.warning("the data are not compared with those before, which are gone: %s", error)
            return []
        raise DataError(_refuse(before.source, config, store, "the data that it read are gone")) from error
    if old.frequency != new.frequency:
        raise DataError(
            f"the data now have frequency {new.frequency!r}; the last delivery had {old.frequency!r}. Mend the source, "
            f"set frequency if it was inferred wrongly, or {_say_ways_out(config, store)}"
        )
    if hours := pair.find_shift(Frequency(new.frequency), ENOUGH_EQUAL):
        raise DataError(
            f"the same values now lie {abs(hours):g} hours {'later' if hours > 0 else 'earlier'} than in the last "
            "delivery: the source has another clock. Set source.timezone (--timezone) to the zone of its timestamps, "
            f"mend the source, or {_say_ways_out(config, store)}"
        )
    if not same_source and pair.share_equal < ENOUGH_EQUAL:
        raise DataError(_refuse(before.source, config, store, pair.describe_overlap()))
    return list(pair.describe_changes())


def _identify(source: Source) -> tuple[object, ...]:
    """Return what names a source: how it is read may be set later."""
    by_kind = {
        SourceKind.files: (source.path,),
        SourceKind.sql: (source.url, source.query),
        SourceKind.synthetic: (source.dataset,),
    }
    return (source.kind, *by_kind[source.kind])


def _show(source: Source) -> str:
    if source.kind is SourceKind.files:
        return redact_address(str(source.path))
    if source.kind is SourceKind.sql:
        return f"the query {source.query!r} to {redact_address(str(source.url))}"
    return f"the synthetic {source.dataset}"


def _refuse(before: Source, config: PipelineConfig, store: Store, why: str) -> str:
    return (
        f"{store.backend.shown('')} belongs to the series of {_show(before)}; received {_show(config.source)}, and "
        f"{why}. These are two problems: {_say_ways_out(config, store)}"
    )


def _say_ways_out(config: PipelineConfig, store: Store) -> str:
    return (
        f"give this one a name of its own (--name), which is {config.name!r} now. If it is the same problem, run "
        "retrain once with --refresh, which accepts the data as they are"
    )
