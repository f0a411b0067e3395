"""The key of a stage is the same for whoever asks."""

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.settings import Covariates
from lstm_model.contracts.shard import Frame, IdRange
from lstm_model.storage.store import Store
from tasks.runtime.cache_key import stage_key
from tasks.stages.ingest import ingest
from tasks.stages.train import train
from tasks.stages.window import window
from tests.factories import problem

SERIES = Artifact(kind="series", sha256="1" * 64, num_rows=9)


def test_what_is_not_given_counts_as_its_default(tmp_path):
    asked = {"request": problem(), "fingerprint": "a"}
    assert stage_key(ingest, asked) == stage_key(ingest, {**asked, "only": None, "store": Store(tmp_path)})
    assert stage_key(ingest, asked) != stage_key(ingest, {**asked, "only": IdRange(first="b")})
    cut = {"series": SERIES, "covariates": Covariates(), "fold": 0}
    assert stage_key(window, cut) == stage_key(window, {**cut, "frame": None})
    assert stage_key(window, cut) != stage_key(window, {**cut, "frame": Frame(end="7", frequency="1")})


def test_where_a_training_begins_and_runs_does_not_count():
    asked = {"windows": SERIES}
    assert stage_key(train, asked) == stage_key(train, {**asked, "parent": SERIES, "ray_address": "auto"})
