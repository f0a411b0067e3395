"""Damage anywhere in a store is noticed, healed or told with the file's name; it is never used in silence.

One flipped bit, or a pipe, a link and the like in place of a file.
"""

import random
import re
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest
import torch
from pydantic import BaseModel

from lstm_model.contracts.artifact import Artifact, version_of
from lstm_model.contracts.bundle_card import read_bundle_card
from lstm_model.contracts.envelope import BacktestEnvelope
from lstm_model.contracts.monitored import Monitored
from lstm_model.contracts.profile import Profile
from lstm_model.contracts.resolved import Resolved
from lstm_model.lifecycle.champion import require_whole
from lstm_model.lifecycle.chosen_settings import _read_kept
from lstm_model.lifecycle.drift import RECORD, _find_backtest, is_known
from lstm_model.lifecycle.ledger import Ledger
from lstm_model.lifecycle.registry import Registry
from lstm_model.lifecycle.retention import KEEP_RUNS, _noted, _pinned, remember
from lstm_model.lifecycle.stage_outputs import ENVELOPE, FORECASTS
from lstm_model.series import infer
from lstm_model.storage.checked_parquet import CheckedParquet, dump_table
from lstm_model.storage.notes import write_note
from lstm_model.storage.store import Store
from lstm_model.training.checkpoint import Checkpoint
from tests.factories import NO_FILES, envelope_of, problem

GOLDEN = Path(__file__).parents[2] / "golden" / "v1" / "bundle"
SEEN = Monitored(name="a", status="drift", finding="It drifts.", champion="c", evidence="2024-01-01")
FLIPS = 12
"""In each file, at places and bits that a seed chooses."""


class Pin(BaseModel):
    series: Artifact
    champion: Artifact | None


def issue(hour):
    cutoff = pd.Timestamp("2024-01-01") + pd.Timedelta(hours=hour)
    ds = [cutoff + pd.Timedelta(hours=step) for step in (1, 2)]
    frame = pd.DataFrame({"unique_id": ["a", "a", "b", "b"], "cutoff": cutoff, "ds": ds * 2, "step": [1, 2] * 2})
    return frame.assign(mean=1.5, median=1.25).astype({"cutoff": "datetime64[us]", "ds": "datetime64[us]"})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store with a trained champion, and a file of every kind that runs leave."""
    store = Store(tmp_path_factory.mktemp("whole"))
    for name in ("first", "second"):
        with store.create("bundle") as draft:
            shutil.copytree(GOLDEN, draft.folder, dirs_exist_ok=True)
            (draft.folder / "name.txt").write_text(name)
            draft.num_rows = 1
        Registry(store).promote(draft.artifact, by="gate", why="better", instead_of="any")
    for hour in range(2):
        Ledger(store).append(issue(hour), model_version=version_of(draft.artifact))
    facts = Profile(
        frequency="D", num_series=1, num_observed=900, length_min=900, length_median=900, length_max=900,
        start="2024-01-01", end="2026-06-18", median_lag=0, lowest=0.5, found_season=None,
    )  # fmt: skip
    config, plan, reasons = infer.infer_plan(problem(), facts)
    kept = read_bundle_card(store.path(draft.artifact)).plan
    measured = BacktestEnvelope(plan=kept, envelope=envelope_of(), series_sha256="0" * 64)
    store.backend.write(FORECASTS, dump_table(Ledger(store).read_parts(Ledger(store).parts(), None)))
    write_note(store.backend, "plans/a.json", Resolved(config=config, plan=plan, reasons=reasons))
    write_note(store.backend, "pins/a.json", Pin(series=draft.artifact, champion=None))
    write_note(store.backend, ENVELOPE, measured)
    write_note(store.backend, RECORD, SEEN)
    remember(store, [draft.artifact], flow="retrain")
    Checkpoint(store.root / "checkpoints" / "a.safetensors", "a").finish("search", {"weights": torch.arange(9.0)})
    return store.root


@pytest.fixture
def alarm():
    """End a test that hangs, such as in the opening of a pipe."""

    def ring(number, frame):
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def use_champion(store):
    champion = Registry(store).get("champion")
    require_whole(champion, store)
    return read_bundle_card(store.path(champion)).model_dump_json()


def use_ledger(store):
    """Whoever issues again, and whoever reads."""
    version = version_of(Registry(store).get("champion"))
    assert Ledger(store).append(issue(1), model_version=version) == 0, "nothing is issued twice"
    found = Ledger(store)
    return found.read().to_csv(), found.cutoffs().to_csv(), found.issue_before(None)[1].to_csv()


def use_checkpoint(store):
    found = Checkpoint(store.root / "checkpoints" / "a.safetensors", "a").result("search")
    return found and {name: tensor.tolist() for name, tensor in found.items()}


def card(store):
    return read_bundle_card(store.path(Registry(store).get("champion")))


USES = {
    r"artifacts/bundle/\w+/.*": use_champion,
    r"registry\.json": lambda store: Registry(store).state(),
    r"ledger/.*": use_ledger,
    r"forecasts\.parquet": lambda store: CheckedParquet(
        store.backend.read(FORECASTS), store.backend.shown(FORECASTS)
    ).read(),
    r"plans/.*": lambda store: _read_kept(store, "plans/a.json"),
    r"pins/.*": _pinned,
    r"runs/.*": lambda store: _noted(store, KEEP_RUNS),
    r"envelope\.json": lambda store: _find_backtest(card(store), store),
    r"monitor\.json": lambda store: is_known(SEEN, store),
    r"checkpoints/.*": use_checkpoint,
}
"""Whoever believes a file, by the file's name."""
MISSES = (None, False, set())
"""What is said of a note that is not there: its reader makes it again."""


def find_use(name):
    (found,) = (use for pattern, use in USES.items() if re.fullmatch(pattern, name))
    return found


def list_files(root):
    """All but those of locks, in which only a person reads who holds them."""
    files = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file()]
    return [file for file in files if not file.startswith("locks/")]


def test_a_flipped_bit_is_noticed_or_told_in_every_file_of_a_store(whole, tmp_path, caplog):
    shutil.copytree(whole, tmp_path / "store")
    store, dice, champion = Store(tmp_path / "store"), random.Random(0), Registry(Store(whole)).get("champion")
    names = [name for name in list_files(whole) if "bundle" not in name or champion.sha256 in name]
    assert {pattern for pattern in USES for name in names if re.fullmatch(pattern, name)} == set(USES)
    for name in names:
        file, use = store.root / name, find_use(name)
        content, expected = file.read_bytes(), use(store)
        assert expected not in MISSES, name
        for at in dice.sample(range(len(content)), min(FLIPS, len(content))):
            file.write_bytes(content[:at] + bytes([content[at] ^ 1 << dice.randrange(8)]) + content[at + 1 :])
            caplog.clear()
            try:
                found = use(store)
            except ValueError as error:
                assert file.name in str(error), (name, at, error)
            else:
                is_miss = found in MISSES and file.name in caplog.text
                assert found == expected or is_miss, (name, at)
        file.write_bytes(content)


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_told_in_the_place_of_every_file_of_a_store(whole, tmp_path, caplog, alarm, kind):
    shutil.copytree(whole, tmp_path / "store")
    store, champion = Store(tmp_path / "store"), Registry(Store(whole)).get("champion")
    for name in (name for name in list_files(whole) if "bundle" not in name or champion.sha256 in name):
        file, use = store.root / name, find_use(name)
        file.unlink()
        NO_FILES[kind](file)
        caplog.clear()
        try:
            found = use(store)
        except ValueError as error:
            assert file.name in str(error), (name, error)
        else:
            assert found in MISSES and file.name in caplog.text, name
        store.backend.remove(name)
        shutil.copy(whole / name, file)
        use(store)


def test_a_damaged_champion_leads_to_the_model_before_it_or_to_a_retraining(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "store")
    store = Store(tmp_path / "store")
    state = Registry(store).state()
    for damaged, way_out in (
        (state.champion, r"go back to the model before it: python -m flows\.promote previous --name store --store "),
        (
            state.previous,
            r"train another, which needs no champion: python -m flows\.retrain --config \S+pipeline\.yaml",
        ),
    ):
        (store.path(damaged) / "model.safetensors").write_bytes(b"")
        with pytest.raises(ValueError, match=rf"the champion {version_of(state.champion)} is damaged: .*{way_out}"):
            require_whole(state.champion, store)
