"""A training goes on from where it was killed, and from the champion of the night before; as users start it."""

import json
import re
import signal

import numpy as np
import pandas as pd
import pytest
from safetensors import SafetensorError, safe_open

from tests.waiting import wait_for

SETTINGS = ("max_steps=1000", "patience=99", "learning_rate=0.0005", "precision=fp32")
"""Some seconds long, looked at every 40 steps, and better at each look, so that the refit is long too."""
SLOW_TRAINING = [word for setting in SETTINGS for word in ("--set", f"advanced.training.{setting}")]


def wait_for_checkpoint(process, store, stage):
    """Until the training has kept how far this stage is."""
    wait_for(f"a checkpoint of {stage}", lambda: stage in running(store), process=process)


def running(store):
    """What the checkpoint says, as text: the stage that is under way, its step, and what is finished."""
    try:
        (file,) = (store / "checkpoints").glob("[!.]*.safetensors")
        with safe_open(file, "pt") as opened:
            return re.search(r'"running": (.*)"chosen"', opened.metadata()["state"])[1]
    except (ValueError, OSError, SafetensorError):
        return ""


@pytest.mark.slow
def test_sigterm_and_kill_minus_nine_change_no_byte_of_the_model(cli, tiny, tmp_path_factory):
    store, arguments = cli.folder / "store" / "tiny", ["--config", tiny, *SLOW_TRAINING]
    first = cli.start(*arguments)
    wait_for_checkpoint(first, store, "search from scratch")
    first.send_signal(signal.SIGTERM)
    _, log = first.communicate(timeout=180)
    assert first.returncode
    stopped = int(re.search(r"search from scratch: stopped after step (\d+) of 1000", log)[1])
    assert f'"step": {stopped},' in running(store), "the checkpoint is of the very last step"

    second = cli.start(*arguments)
    wait_for_checkpoint(second, store, "refit from scratch")
    second.kill()
    _, log = second.communicate(timeout=180)
    assert f"search from scratch goes on after step {stopped} of 1000" in log

    third = cli.start("--json", *arguments)
    output, log = third.communicate(timeout=240)
    assert third.returncode == 0, log
    assert re.search(r"refit from scratch goes on after step \d+", log)
    assert not list((store / "checkpoints").iterdir()), "what is finished is kept as an artifact alone"

    cli.folder = tmp_path_factory.mktemp("uninterrupted")
    assert cli(*arguments)["model"]["sha256"] == json.loads(output)["model"]["sha256"]


@pytest.mark.slow
def test_a_night_later_the_champion_is_gone_on_from_and_another_network_says_why_not(cli):
    """The same file with one more day; then a changed hidden_dim."""
    hours = pd.date_range("2024-01-01", periods=324, freq="h")
    frame = pd.DataFrame({"site": "a", "hour": hours, "load": 5 + np.sin(np.arange(324) / 12 * np.pi)})
    settings = ("context=24", "advanced.model.hidden_dim=8", "advanced.training.max_steps=50")
    arguments = ["--data", "load.csv", "--horizon", "6", *(word for s in settings for word in ("--set", s))]

    def model(*more, rows):
        frame[:rows].to_csv(cli.folder / "load.csv", index=False)
        folder = cli.folder / "store" / "load" / "artifacts" / "model" / cli(*arguments, *more)["model"]["sha256"]
        return json.loads((folder / "bundle.json").read_text())["card"], folder

    first, _ = model(rows=300)
    assert first["warm"] == {"parent": None, "generation": 0, "reason": "no model to start from"}
    registry = json.loads((cli.folder / "store" / "load" / "registry.json").read_text())
    second, folder = model(rows=324)
    assert second["warm"]["generation"] == 1
    assert second["warm"]["parent"] in json.dumps(registry)
    assert second["seen_through"] == {"train": second["cutoffs"]["train"], "refit": second["cutoffs"]["validation"]}
    assert (folder / "search.safetensors").is_file()
    assert any(note.startswith("warm start 1: from model") for note in second["notes"])
    third, _ = model("--set", "advanced.model.hidden_dim=4", rows=324)
    assert third["warm"]["parent"] is None
    assert "hidden_dim 8 → 4" in third["warm"]["reason"]
