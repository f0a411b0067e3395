"""What a user sees when something goes wrong, and that nothing is lost or left half-written."""

import json
import os
import re
import resource
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from prefect import get_client
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.cli import explain, main
from tests.waiting import wait_for

CONFIGS = [
    (["--horizon", "x"], "horizon: Input should be a valid integer"),
    (["--set", "advanced.model.hiden_dim=3"], "advanced.model.hiden_dim: Extra inputs are not permitted"),
    (["--horizon", "'"], "--horizon: it is not YAML, line 1: "),
    (["--set", "horizon=[[[[[[[[[[[[[1]]]]]]]]]]]]]"], "--set horizon: line 1: nested more than 12 deep"),
    (["--set", "horizon=" + "9" * 5000], "horizon: "),
    (["--set", "schedule.interval_seconds=1e300"], "interval_seconds: Input should be less than or equal to"),
    (["--set", "advanced.training.learning_rate=1e400"], "Input should be a finite number"),
    (["--set", "advanced.training.learning_rate=.nan"], "Input should be a finite number"),
    (["--set", "source.layout=long"], "source.kind synthetic makes its own series: remove layout"),
    (["--set", "horizon=yes"], "horizon: true is no value for it"),
    (["--set", "horizon=010", "--set", "source.kind=x"], "source.kind: "),
    (["--set", "scaling.ray_address=ray://secret@head:1"], "ray_address: contains a token before the host"),
    (["--set", "scaling.ray_address=head:port"], "scaling.ray_address: "),
    (["--set", "forecasting.url=postgresql://me:secret/db"], "forecasting: after the host's colon is no port"),
    (["--set", "forecasting.url=secret"], "forecasting: is no SQLAlchemy URL"),
    (["--set", "forecasting.password_from=secret"], "forecasting.password_from: "),
    (["--set", "source.password_from=secret"], "source.password_from: "),
    (["--set", "source.password=secret"], "source.password: Extra inputs are not permitted"),
    (["--set", "notify=xoxb-secret"], "notify: "),
    (["--set", "notify=slack://secret/secret"], "notify: "),
    (["--set", "notify=https://hooks.slack.com/services/T0/B0/secret"], "notify: contains the address of a webhook"),
    (["--store", "s3://bucket/x?sig=secret", "--horizon", "x"], "horizon: "),
    (["--reason", "https://host/x?sig=secret"], "--reason contains the parameter sig"),
    (["--data", "https://host/x.csv?sig=secret"], "source.path: contains the parameter sig"),
    (["--set", "horizon"], "--set takes KEY=VALUE, received 'horizon'"),
    (["--set", "source.pasword:secret"], "--set takes KEY=VALUE, received 'source.pasword'"),
    (["--set", "source.pasword=secret"], "source.pasword: Extra inputs are not permitted"),
    (["--reason", "api_key=secret"], "--reason contains the parameter api_key"),
    (["--reason", "passcode: secret"], "--reason contains a password"),
    (["--set", "source.kind=files"], "source.path is empty"),
    (["--set", "source.url=postgresql://me:secret@db/x"], "source.url: contains a password"),
    (["--set", "source.url=postgresql://me@db/x?password=secret"], "source.url: contains the parameter password"),
    (["--set", "source.url=postgresql://me:se/secret@db/x"], "source.url: contains a password"),
    (["--data", "https://me:secret@host/x.csv"], "source.path: contains a password"),
    (["--config", "nowhere.yaml"], "nowhere.yaml"),
]


@pytest.mark.parametrize(("arguments", "message"), CONFIGS, ids=[" ".join(a)[:60] for a, _ in CONFIGS])
def test_a_wrong_setting_is_named_before_anything_starts(arguments, message, capsys, tmp_path):
    assert main("retrain", ["--store", str(tmp_path / "store"), *arguments]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert "secret" not in errors.replace("secret:NAME", "")
    assert len(errors) < 1000 and "Traceback" not in errors
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("url", "way_out"),
    [("http://127.0.0.1:9/api", "PREFECT_API_URL is http://127.0.0.1:9/api: start that"), (None, "run again, the fin")],
)
def test_a_server_that_cannot_be_reached_is_told_with_the_way_out(url, way_out):
    with temporary_settings({PREFECT_API_URL: url}):
        said = explain(RuntimeError("Failed to reach API at http://127.0.0.1:9/api/"))
    assert way_out in said and "None" not in said


def leftovers(store):
    """Files that a run began and did not finish."""
    files = [path.relative_to(store) for path in Path(store).rglob("*") if path.is_file()]
    return [path for path in files if "tmp" in path.parts or path.name[0] == "."]


def find_pickles(folder):
    """Files that are a pickle, or hold one as base64."""
    files = {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}
    return [
        path
        for path, content in files.items()
        if (re.match(rb"\x80[\x02-\x05]", content) and content.endswith(b".")) or re.search(rb'(^|")gA[JNSW]', content)
    ]


def test_neither_a_failed_run_nor_a_good_one_leaves_a_pickle(cli, tiny, trained):
    """Not in the store, and not where Prefect keeps the exception of a flow that failed."""
    cli.environment["PREFECT_HOME"] = str(cli.folder / "prefect")
    assert cli("--config", tiny)["status"] == "unchanged"
    _, errors = cli.fail("--data", "nowhere.csv")
    assert "nowhere.csv' does not exist" in errors
    _, errors = cli.fail("--config", tiny, "--set", "advanced.training.device=xpu")
    assert "training.device is 'xpu'" in errors
    kept = [json.loads(path.read_bytes()) for path in (cli.folder / "prefect" / "storage").iterdir()]
    assert sorted(one["__exc_type__"] for one in kept) == [
        "builtins.ValueError",
        "lstm_model.contracts.findings.DataError",
    ]
    assert find_pickles(cli.folder) == []
    with (
        temporary_settings({PREFECT_API_URL: cli.environment["PREFECT_API_URL"]}),
        get_client(sync_client=True) as client,
    ):
        latest, before = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=2)
    assert latest.state.is_failed() and "training.device is 'xpu'" in latest.state.message
    assert before.state.is_failed() and "nowhere.csv' does not exist" in before.state.message


def test_a_missing_file_and_a_missing_column_are_said_in_one_line(cli):
    code, errors = cli.fail("--data", "nowhere.csv")
    assert code == 1
    assert "error: source.path" in errors and "nowhere.csv' does not exist" in errors
    assert "Traceback" not in errors
    pd.DataFrame({"day": pd.date_range("2024-01-01", periods=60), "sold": range(60)}).to_csv(cli.folder / "a.csv")
    code, errors = cli.fail("--data", "a.csv", "--target", "revenue", "--horizon", "7")
    assert code == 1
    assert "the column revenue" in errors and "sold" in errors
    assert not leftovers(cli.folder / "store")


@pytest.mark.slow
def test_no_gpu_is_said_with_what_is_there(cli, tiny):
    code, errors = cli.fail("--config", tiny, "--set", "advanced.training.device=xpu")
    assert code == 1
    assert "training.device is 'xpu'" in errors and "cpu" in errors


@pytest.mark.slow
def test_a_full_disk_is_an_error_that_leaves_nothing_half_written(cli, tiny):
    def small_files_only():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    _, errors = cli.fail("--config", tiny, preexec_fn=small_files_only)
    assert "File too large" in errors
    assert not leftovers(cli.folder / "store")
    assert cli("--config", tiny)["status"] == "promoted", "with room again, the next run ends well"


@pytest.mark.slow
def test_without_the_server_that_is_configured_the_fix_is_named(cli, tiny):
    cli.environment["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
    cli.environment["PREFECT_CLIENT_MAX_RETRIES"] = "0"
    _, errors = cli.fail("--config", tiny)
    assert "PREFECT_API_URL is http://127.0.0.1:9/api: start that server, or unset it" in errors


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=["ctrl-c", "sigterm", "kill"])
def test_a_stopped_run_leaves_finished_stages_and_nothing_else(cli, tiny, helpers, number):
    long = [
        "--config", tiny, "--set", "advanced.training.max_steps=100000", "--set", "advanced.training.patience=100000",
    ]  # fmt: skip
    process = cli.start(*long)
    wait_until_training(process, cli.folder / "store" / "tiny")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode
    after = cli("--config", tiny)
    assert helpers.stages(after)["window"] == "cached"
    assert not leftovers(cli.folder / "store")


def wait_until_training(process, store):
    wait_for("a checkpoint", lambda: list((store / "checkpoints").glob("*")), process=process)


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_ends_a_run_without_a_server_soon(cli, tiny, prefect_home):
    """A terminal sends it to the temporary server too."""
    cli.environment["PREFECT_API_URL"] = ""
    cli.environment["PREFECT_HOME"] = str(prefect_home)
    process = cli.start("--config", tiny, "--set", "advanced.training.max_steps=100000", start_new_session=True)
    wait_until_training(process, cli.folder / "store" / "tiny")
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130 and "interrupted; the finished stages are kept" in errors
    assert time.monotonic() - began < 30
    assert subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True, check=False).stdout == b""


@pytest.mark.slow
def test_a_history_too_short_for_a_test_still_trains_and_says_so(cli):
    days = pd.date_range("2024-01-01", periods=30)
    pd.DataFrame({"date": days, "sold": [float(i % 7) for i in range(30)]}).to_csv(cli.folder / "a.csv", index=False)
    outcome = cli("--data", "a.csv", "--horizon", "28", "--set", "advanced.training.max_steps=5")
    assert outcome["scores"] == []
    assert "has not been evaluated" in outcome["verdict"]
    assert "not" in Path(outcome["report"]).read_text().lower()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_store_that_cannot_be_written_is_named(cli, tiny):
    (cli.folder / "store").mkdir(mode=0o500)
    _, errors = cli.fail("--config", tiny)
    assert "Permission denied" in errors and "store" in errors
