"""Flows run as users run them, against one Prefect server a session."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.cli import main, main_promote

ROOT = Path(__file__).parents[2]

TINY = """
source: {kind: synthetic, num_series: 2, num_steps: 300}
horizon: 6
context: 24
advanced:
  model: {hidden_dim: 8, layer_dim: 1, segment: 6, levels: [0.8]}
  training: {max_steps: 20, threads: 1}
"""
"""A whole run takes a few seconds."""


def hear_ctrl_c():
    """A test run in the background of a shell inherits that SIGINT is ignored, and hands it on."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Cli:
    """The command line of a flow: in this process where it must succeed, in one of its own where it may fail or end.

    Starting Python and importing Prefect and torch is half of a tiny run.
    """

    def __init__(self, api_url, folder):
        self.folder, self.code = folder, ROOT
        self.environment = {**os.environ, "PREFECT_API_URL": api_url, "OMP_NUM_THREADS": "1"}
        self._here = dict(self.environment)

    def start(self, *arguments, flow="retrain", **options):
        """The process, not waited for; it runs in the test's own folder."""
        command = [sys.executable, "-m", f"flows.{flow}", "--store", str(self.folder / "store"), *map(str, arguments)]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={**self.environment, "PYTHONPATH": str(self.code)},
            text=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": hear_ctrl_c, **options},
        )

    def fail(self, *arguments, **options):
        """Exit code and error output of a run that must not succeed."""
        process = self.start(*arguments, **options)
        _, errors = process.communicate(timeout=300)
        assert process.returncode, "the run should have failed"
        return process.returncode, errors

    def __call__(self, *arguments, flow="retrain"):
        """The outcome of a run that must succeed; with other code or variables, of a process of its own."""
        if (self.code, self.environment) != (ROOT, self._here):
            return finished(self.start("--json", *arguments, flow=flow))
        command = [*map(str, ("--store", self.folder / "store", "--json", "--verbose", *arguments))]
        with (
            contextlib.chdir(self.folder),
            temporary_settings({PREFECT_API_URL: self.environment["PREFECT_API_URL"]}),
            contextlib.redirect_stdout(io.StringIO()) as output,
        ):
            code = main_promote(command) if flow == "promote" else main(flow, command)
        assert code == 0, output.getvalue()
        return json.loads(output.getvalue())


def finished(process):
    """The outcome that a process prints, once it has ended well."""
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return json.loads(output)


def stages(outcome):
    """What became of each stage: {"ingest": "cached", ...}."""
    return {record["stage"]: record["outcome"] for record in outcome["stages"]}


def computed(outcome):
    """The stages that were not served from the cache."""
    return [stage for stage, outcome in stages(outcome).items() if outcome != "cached"]


@pytest.fixture
def cli(api_url, tmp_path):
    return Cli(api_url, tmp_path)


@pytest.fixture
def tiny(tmp_path):
    """A pipeline's YAML that runs in seconds."""
    path = tmp_path / "tiny.yaml"
    path.write_text(f"name: tiny\n{TINY}")
    return path


@pytest.fixture(scope="session")
def finished_store(api_url, tmp_path_factory):
    """The outcome and the store of a first run of `tiny`, made once."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.yaml").write_text(f"name: tiny\n{TINY}")
    return Cli(api_url, folder)("--config", folder / "tiny.yaml"), folder / "store"


@pytest.fixture
def trained(cli, finished_store):
    """The outcome of a first run of `tiny`; its store, which may be moved, lies where a run of this test's would."""
    outcome, store = finished_store
    shutil.copytree(store, cli.folder / "store")
    return outcome


@pytest.fixture
def helpers():
    """Functions that the tests of this folder share."""
    return type(
        "Helpers",
        (),
        {"finished": staticmethod(finished), "stages": staticmethod(stages), "computed": staticmethod(computed)},
    )
