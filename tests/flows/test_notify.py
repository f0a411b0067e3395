"""Whoever the config names is told, through a real block on a real server, and a broken block hides nothing."""

import json
import logging
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock, SlackWebhook
from prefect.settings import PREFECT_API_URL, temporary_settings

from lstm_model.lifecycle.registry import Registry
from lstm_model.storage.store import Store
from tasks.runtime.notify import tell

SECRET = "T0PS3CRET"


@pytest.fixture
def receiver():
    """A web server that keeps what it is sent: [(path, JSON), ...]; paths with `broken` answer 500."""
    received = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, json.loads(body)))
            self.send_response(500 if "broken" in self.path else 200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        server.url, server.received = f"http://127.0.0.1:{server.server_port}", received
        yield server
        server.shutdown()


@pytest.fixture
def save(api_url, receiver):
    """Save a webhook block on the server of this session, by name."""

    def webhook(name, path=""):
        data = {"subject": "{{subject}}", "body": "{{body}}"}
        block = CustomWebhookNotificationBlock(name=name, url=f"{receiver.url}/{path}", json_data=data)
        block.save(name, overwrite=True)
        return f"custom-webhook/{name}"

    with temporary_settings({PREFECT_API_URL: api_url}):
        yield webhook


@pytest.mark.slow
def test_a_failed_run_is_told_and_a_block_that_is_gone_hides_nothing(cli, save, receiver):
    notify = save("failures")
    arguments = ["--name", "shop", "--data", "nowhere.csv"]
    code, errors = cli.fail(*arguments, "--set", f"notify={notify}")
    assert code == 1 and "nowhere.csv' does not exist" in errors
    ((_, told),) = receiver.received
    assert told["subject"].startswith("retrain/shop failed: DataError: source.path ")
    assert "does not exist" in told["body"] and "registry-NAME says which model forecasts" in told["body"]
    assert "/runs/flow-run/" in told["body"]

    code, errors = cli.fail(*arguments, "--set", "notify=custom-webhook/deleted", "--verbose")
    assert code == 1 and "nowhere.csv' does not exist" in errors
    assert "not told through custom-webhook/deleted" in errors
    assert len(receiver.received) == 1


@pytest.mark.slow
def test_a_rejection_and_a_rollback_are_told_once_each(cli, tiny, save, receiver):
    notify = save("decisions")
    told = ("--config", tiny, "--set", f"notify={notify}")
    first = cli(*told, "--set", "advanced.training.max_steps=150", "--set", "advanced.training.learning_rate=0.01")
    assert receiver.received == [], "a promotion is in the report"
    worse = [*told, "--set", "advanced.training.max_steps=1"]
    rejected = cli(*worse)
    assert rejected["status"] == "rejected" and cli(*worse)["status"] == "rejected"
    ((_, message),) = receiver.received
    assert message["subject"] == f"tiny: challenger {rejected['bundle']} rejected"
    assert rejected["decision"]["summary"] in message["body"] and rejected["how_to_promote"] in message["body"]
    cli("challenger", "--name", "tiny", flow="promote")
    cli("previous", "--name", "tiny", "--notify", notify, flow="promote")
    _, (_, message) = receiver.received
    assert message["subject"] == "tiny: rolled back" and f"→ {first['bundle']}" in message["body"]


@pytest.mark.slow
def test_a_damaged_champion_is_left_by_an_experiment_and_otherwise_set_aside_told_and_in_the_report(
    cli, tiny, trained, save, receiver
):
    store = Store(cli.folder / "store" / "tiny")
    names, champion = store.backend.read("registry.json"), Registry(store).get("champion")
    (store.path(champion) / "model.safetensors").write_bytes(b"")
    told = ("--config", tiny, "--set", f"notify={save('damage')}")
    says = f"WARNING: the champion {trained['bundle']} is damaged; this model is judged as if it were the first."
    experiment = cli(*told, "--promote", "never")
    assert experiment["status"] == "kept back" and experiment["decision"]["summary"].startswith(says)
    assert store.backend.read("registry.json") == names and not store.backend.entries("damaged")
    assert cli(*told, "--folds", 1, flow="backtest")["folds"], "a backtest needs no champion"

    retrained = cli(*told)
    assert retrained["status"] == "promoted" and retrained["decision"]["summary"].startswith(says)
    assert says in (store.root / "report.html").read_text()
    ((_, message),) = receiver.received
    assert message["subject"] == f"tiny: the champion {trained['bundle']} is damaged"
    assert "model.safetensors is not what was written" in message["body"]
    assert str(store.root / "damaged") in message["body"]


def test_a_broken_block_is_a_warning_without_its_secrets(save, receiver, caplog):
    with caplog.at_level(logging.WARNING):
        tell(save("broken", f"broken/{SECRET}"), "subject", "body")
        tell("custom-webhook/nobody", "subject", "body")
        tell("no-such-type/x", "subject", "body")
        SlackWebhook(url=f"json{receiver.url[4:]}/broken/{SECRET}").save("broken", overwrite=True)
        tell("slack-webhook/broken", "subject", "body")
    assert len(receiver.received) == 2
    warnings = [record.getMessage() for record in caplog.records if "not told" in record.getMessage()]
    assert [w.split(":")[0] for w in warnings] == [
        "not told through custom-webhook/broken",
        "not told through custom-webhook/nobody",
        "not told through no-such-type/x",
        "not told through slack-webhook/broken",
    ]
    assert "HTTPStatusError 500" in warnings[0]
    assert SECRET not in caplog.text


def test_the_blocks_made_with_apprise_arrive_too(save, receiver):
    # Beneath Slack, Teams and the like is Apprise, which is told here to write to this server.
    SlackWebhook(url=f"json{receiver.url[4:]}/services/x").save("here", overwrite=True)
    tell("slack-webhook/here", "drift", "the error doubled")
    ((path, told),) = receiver.received
    assert path == "/services/x" and "the error doubled" in json.dumps(told)
    tell(None, "nobody", "is told")
    assert len(receiver.received) == 1


@pytest.mark.parametrize("notify", [f"https://hooks.slack.com/services/{SECRET}", f"slack://{SECRET}/x", SECRET])
def test_an_address_in_the_place_of_a_block_is_not_shown(notify, caplog):
    with caplog.at_level(logging.WARNING):
        tell(notify, "subject", "body")
    assert "not told through the block: subject (its name is not of the form type/name" in caplog.text
    assert SECRET not in caplog.text
