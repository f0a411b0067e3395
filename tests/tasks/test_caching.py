"""The key of a stage is the same for whoever asks."""

from lstm_model.config import Covariates, PipelineConfig
from lstm_model.panel import Frame, IdRange
from lstm_model.store import Artifact, Store
from tasks.caching import stage_key
from tasks.ingest import ingest
from tasks.train import train
from tasks.window import window

SERIES = Artifact(kind="series", sha256="1" * 64, num_rows=9)


def test_what_is_not_given_counts_as_its_default(tmp_path):
    asked = {"request": PipelineConfig(), "fingerprint": "a"}
    assert stage_key(ingest, asked) == stage_key(ingest, {**asked, "only": None, "store": Store(tmp_path)})
    assert stage_key(ingest, asked) != stage_key(ingest, {**asked, "only": IdRange(first="b")})
    cut = {"series": SERIES, "covariates": Covariates(), "fold": 0}
    assert stage_key(window, cut) == stage_key(window, {**cut, "frame": None})
    assert stage_key(window, cut) != stage_key(window, {**cut, "frame": Frame(end="7", frequency="1")})


def test_where_a_training_begins_and_runs_does_not_count():
    asked = {"windows": SERIES}
    assert stage_key(train, asked) == stage_key(train, {**asked, "parent": SERIES, "ray_address": "auto"})
