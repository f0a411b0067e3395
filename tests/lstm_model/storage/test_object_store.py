"""A store in a bucket, on a real S3 server of this machine (moto's), through a line that can be made to fail."""

import json
import os
import shutil
import socket
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("obstore", reason="obstore is not installed: pip install 'evergreen-forecast[s3]'")

from lstm_model.contracts.artifact import version_of
from lstm_model.lifecycle import ledger as ledger_module
from lstm_model.lifecycle.ledger import DamagedLedgerError, Ledger
from lstm_model.lifecycle.registry import ChampionChangedError, Registry
from lstm_model.lifecycle.retention import forget, remember
from lstm_model.storage import bucket as bucket_module
from lstm_model.storage.backend import whole_root
from lstm_model.storage.bucket import Bucket
from lstm_model.storage.bucket_backend import BucketBackend
from lstm_model.storage.manifest import DamagedArtifactError
from lstm_model.storage.store import Store


class Machine:
    """Opens the same store from folders of its own, as another machine would."""

    def __init__(self, tmp_path, url):
        self.tmp_path, self.url, self.count = tmp_path, url, 0

    def __call__(self, **options):
        if self.url is None:
            return Store(self.tmp_path / "store")
        self.count += 1
        cache = self.tmp_path / f"machine {self.count}"
        return Store(cache, BucketBackend(self.url, cache, **options))


@pytest.fixture
def bucket_store(tmp_path, bucket):
    return Machine(tmp_path, f"{bucket}/sales")


@pytest.fixture(params=["folder", "bucket"])
def machine(request, tmp_path):
    return Machine(tmp_path, f"{request.getfixturevalue('bucket')}/sales" if request.param == "bucket" else None)


def write(store, text="hello", kind="note"):
    with store.create(kind) as draft:
        (draft.folder / "sub").mkdir()
        (draft.folder / "sub" / "a.txt").write_text(text)
        draft.num_rows = len(text)
        draft.meta = {"words": len(text.split())}
    return draft.artifact


def test_what_one_machine_wrote_another_reads(machine):
    first, second = machine(), machine()
    artifact = write(first, "two words")
    assert write(first, "two words") == artifact
    second.verify(artifact)
    assert (second.path(artifact) / "sub" / "a.txt").read_text() == "two words"
    assert second.meta(artifact) == {"words": 2} and machine().num_rows(artifact) == 9
    second.backend.write("plans/a.json", "chosen")
    assert first.backend.read("plans/a.json") == b"chosen"
    assert [entry.name for entry in first.backend.entries("plans")] == ["plans/a.json"]
    first.backend.remove("plans/a.json")
    first.backend.remove("plans/a.json")
    with pytest.raises(FileNotFoundError):
        second.backend.read("plans/a.json")
    assert not first.backend.entries("plans")


def test_a_file_changes_from_what_was_read(machine):
    backend = machine().backend
    assert backend.change("count", lambda before: b"1" if before is None else None)
    assert not backend.change("count", lambda before: None)
    assert backend.change("count", lambda before: before + b"2")
    assert backend.read("count") == b"12"


def test_nothing_is_seen_of_an_artifact_that_was_not_finished(machine):
    store = machine()
    with pytest.raises(RuntimeError), store.create("note") as draft:
        (draft.folder / "half.txt").write_text("ha")
        raise RuntimeError
    assert not store.backend.artifacts() and not list((store.root / "tmp").iterdir())


@pytest.mark.parametrize("size", [0, 3, 20_000_000])
def test_files_of_any_size_travel_whole(bucket_store, size):
    content = np.random.default_rng(0).bytes(size)
    with bucket_store().create("note") as draft:
        (draft.folder / "data").write_bytes(content)
    assert (bucket_store().path(draft.artifact) / "data").read_bytes() == content


@pytest.mark.parametrize("lost", ["manifest.json", "sub/a.txt"])
def test_what_the_bucket_lost_is_told_and_a_whole_copy_or_writing_it_again_brings_it_back(bucket_store, lost):
    here, elsewhere = bucket_store(), bucket_store()
    artifact = write(here)
    for bring_back in (lambda: here.verify(artifact), lambda: write(here)):
        here.backend.remove(f"artifacts/note/{artifact.sha256}/{lost}")
        with pytest.raises(DamagedArtifactError, match=f"{lost}|does not exist|cannot be read"):
            elsewhere.verify(artifact)
        bring_back()
        elsewhere.verify(artifact)


def test_other_bytes_are_told_and_a_damaged_copy_is_fetched_again(bucket_store):
    here, elsewhere = bucket_store(), bucket_store()
    artifact = write(here)
    (here.path(artifact) / "sub" / "a.txt").write_text("hallo")
    here.verify(artifact)
    assert (here.path(artifact) / "sub" / "a.txt").read_text() == "hello"
    here.backend.write(f"artifacts/note/{artifact.sha256}/sub/a.txt", "hallo")
    with pytest.raises(DamagedArtifactError, match="differs from the manifest"):
        elsewhere.path(artifact)
    assert not (elsewhere.root / "artifacts" / "note" / artifact.sha256).exists()
    with pytest.raises(DamagedArtifactError, match="was not what was written when it was fetched"):
        elsewhere.verify(artifact)
    here.verify(artifact)  # its own copy is whole, and goes into the bucket
    elsewhere.verify(artifact)
    assert (elsewhere.path(artifact) / "sub" / "a.txt").read_text() == "hello"


def test_what_was_damaged_counts_again_once_it_is_restored_or_made_again(bucket_store):
    artifact, elsewhere = write(here := bucket_store()), bucket_store()
    shutil.rmtree(here.root / "artifacts")
    file = f"artifacts/note/{artifact.sha256}/sub/a.txt"
    for mend in (lambda: here.backend.write(file, "hello"), lambda: write(here)):
        here.backend.write(file, "hallo")
        with pytest.raises(DamagedArtifactError):
            elsewhere.path(artifact)
        with pytest.raises(DamagedArtifactError):
            elsewhere.verify(artifact)
        mend()
        elsewhere.verify(artifact)
        elsewhere.path(artifact)
        shutil.rmtree(elsewhere.root / "artifacts")
        shutil.rmtree(here.root / "artifacts", ignore_errors=True)


def test_what_arrives_damaged_once_is_fetched_again(bucket_store, monkeypatch):
    artifact, elsewhere = write(bucket_store()), bucket_store()
    whole = elsewhere.backend.download

    def download(entry, path):
        whole(entry, path)
        if path.name == "a.txt":
            if not seen:
                path.write_text("hallo")
            seen.append(path)

    seen = []
    monkeypatch.setattr(elsewhere.backend, "download", download)
    assert (elsewhere.path(artifact) / "sub" / "a.txt").read_text() == "hello" and len(seen) == 2
    elsewhere.verify(artifact)


def test_what_lies_half_where_a_copy_belongs_is_replaced(bucket_store):
    artifact, elsewhere = write(bucket_store()), bucket_store()
    half = elsewhere.root / "artifacts" / "note" / artifact.sha256
    (half / "sub").mkdir(parents=True)
    assert (elsewhere.path(artifact) / "sub" / "a.txt").read_text() == "hello"


def test_what_is_unused_goes_in_two_steps_and_comes_back_when_it_is_touched_between(bucket_store):
    store = bucket_store()
    kept, wanted, unused = (write(store, text) for text in ("kept", "wanted", "unused"))
    remember(store, [kept], flow="retrain")
    store.backend.write("results/key", json.dumps(unused.sha256))
    assert forget(store) == 0, "all are young"
    time.sleep(1.1)  # the bucket's clock ticks in seconds
    assert forget(store, grace_seconds=0) == 2
    with pytest.raises(DamagedArtifactError):
        bucket_store().verify(unused)
    assert not store.backend.entries("results")
    store.touch(wanted)
    bucket_store().verify(wanted)
    bucket_store().verify(kept)
    store.path(wanted)  # fetched again
    time.sleep(1.1)
    remember(store, [wanted], flow="forecast")
    assert forget(store, grace_seconds=0) == 0
    left = {entry.name.split("/")[2] for entry in store.backend.entries("artifacts")}
    assert left == {kept.sha256, wanted.sha256}
    assert {folder.name for folder in (store.root / "artifacts" / "note").iterdir()} <= left, "copies go too"


def put_object(bucket, name):
    """Write an object with a name that this project would not give."""
    endpoint, bucket = os.environ["AWS_ENDPOINT_URL"], bucket.removeprefix("s3://")
    request = urllib.request.Request(f"{endpoint}/{bucket}/sales/{name}", data=b"", method="PUT")
    urllib.request.urlopen(request).close()


def test_what_others_put_into_the_bucket_stops_nothing_and_stays(bucket_store, bucket):
    """Files, and the empty objects by which a console of the store shows folders."""
    store = bucket_store()
    artifact = write(store, kind="bundle")
    folder = f"artifacts/bundle/{artifact.sha256}"
    names = ("artifacts/", "artifacts/x.txt", "artifacts/bundle/", "artifacts/bundle/notes/manifest.json", "runs/")
    names += ("pins/", "ledger/", "results/", f"{folder}/", f"{folder}/sub/", f"{folder}/more.txt")
    for name in names:
        put_object(bucket, name)
    for kind in ("*", "bundle"):
        assert [(kept.kind, kept.sha256) for kept in store.backend.artifacts(kind)] == [("bundle", artifact.sha256)]
    assert Registry(store).bundles() == [artifact] and not store.backend.entries("ledger")
    bucket_store().verify(artifact)
    assert sorted(file.name for file in bucket_store().path(artifact).rglob("*")) == ["a.txt", "manifest.json", "sub"]
    remember(store, [artifact], flow="retrain")
    time.sleep(1.1)
    assert forget(store, grace_seconds=0) == 0
    assert {"artifacts/x.txt", "artifacts/bundle/notes/manifest.json"} <= {e.name for e in store.backend.entries("")}


@pytest.mark.parametrize("name", ["bundle//x", "bundle/../../x", "bundle/./x", "bundle/%01x"])
def test_an_object_whose_name_cannot_be_read_is_named_with_the_way_out(bucket_store, bucket, name):
    store = bucket_store()
    put_object(bucket, f"artifacts/{name}")
    with pytest.raises(ValueError, match=r"keeps artifacts from being listed.*sales/artifacts/bundle.*Remove that obj"):
        store.backend.artifacts()


def test_a_run_that_died_in_mid_upload_is_cleaned_up_after_the_grace(bucket_store):
    store = bucket_store()
    store.backend.write(f"artifacts/note/{'a' * 64}/half.txt", "ha")
    assert forget(store) == 0 and store.backend.entries("artifacts")
    time.sleep(1.1)
    forget(store, grace_seconds=0)
    assert not store.backend.entries("artifacts")


@pytest.mark.parametrize("writers", [2, 8])
def test_of_promotions_at_once_exactly_one_wins(bucket_store, writers):
    store = bucket_store()
    champion, *bundles = (write(store, f"bundle {number}", "bundle") for number in range(writers + 1))
    assert Registry(store).promote(champion, by="test", why="first", instead_of=None)
    registries, begin = [Registry(bucket_store()) for _ in bundles], threading.Barrier(writers)

    def promote(registry, bundle):
        begin.wait()
        try:
            return registry.promote(bundle, by="gate", why="race", instead_of=champion)
        except ChampionChangedError:
            return False

    with ThreadPoolExecutor(writers) as pool:
        won = list(pool.map(promote, registries, bundles))
    state = Registry(bucket_store()).state()
    assert won.count(True) == 1 and state.champion == bundles[won.index(True)] and state.previous == champion
    assert [line.champion for line in state.history] == [version_of(champion), version_of(state.champion)]
    assert set(Registry(store).bundles()) == {champion, *bundles}
    assert Registry(store).find(version_of(champion)) == champion


def issue(hour, ids="ab"):
    cutoff = pd.Timestamp("2024-01-01") + pd.Timedelta(hours=hour)
    rows = [(one, cutoff, cutoff + pd.Timedelta(hours=step), step) for one in ids for step in (1, 2)]
    frame = pd.DataFrame(rows, columns=["unique_id", "cutoff", "ds", "step"])
    return frame.assign(mean=np.float32(hour), median=np.float32(hour))


def test_what_is_set_aside_is_kept_and_no_artifact_any_more(machine):
    store = machine()
    artifact = write(store)
    folder = f"artifacts/note/{artifact.sha256}"
    store.backend.remove(f"{folder}/manifest.json")
    place = store.backend.set_aside(artifact)
    assert store.backend.shown("damaged/note-") in place and not store.backend.entries(folder)
    [kept] = store.backend.entries("damaged")
    assert kept.name.endswith("/sub/a.txt") and store.backend.read(kept.name) == b"hello"
    store.backend.set_aside(artifact)  # another run found the same
    with pytest.raises(DamagedArtifactError):
        store.verify(artifact)
    assert write(store) == artifact
    machine().verify(artifact)


def test_a_damaged_copy_of_the_ledger_is_fetched_again_and_a_damaged_original_is_told(bucket_store):
    store = bucket_store()
    ledger = Ledger(store)
    ledger.append(issue(0), model_version="m")
    assert len(ledger.read()) == 4
    [copy] = store.root.glob("fetched/*/*.parquet")
    whole = copy.read_bytes()
    flipped = whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]
    copy.write_bytes(flipped)
    assert len(ledger.read()) == 4 and copy.read_bytes() == whole
    store.backend.write("ledger/00000000-00000000.parquet", flipped)
    with pytest.raises(DamagedLedgerError, match=r"s3://.*00000000-00000000.parquet, a file .* row group 0 is damaged"):
        ledger.read()


@pytest.mark.parametrize("settle", [0.0, 60.0])
def test_writers_on_several_machines_issue_every_forecast_once(bucket_store, monkeypatch, settle):
    """Two writers share each series, so that they issue the same; merges race with appends and readers."""
    monkeypatch.setattr(ledger_module, "FANOUT", 3)
    monkeypatch.setattr(ledger_module, "SETTLE_SECONDS", settle - 1)
    hours, done = 12, threading.Event()

    def append(ids):
        ledger = Ledger(bucket_store())
        for hour in range(hours):
            ledger.append(issue(hour, ids), model_version="m")

    def read():
        ledger, seen = Ledger(bucket_store()), 0
        while not done.is_set():
            frame = ledger.read()
            assert len(frame) >= seen and not frame.duplicated(["unique_id", "cutoff", "step"]).any()
            seen = len(frame)

    with ThreadPoolExecutor(5) as pool:
        reader = pool.submit(read)
        writers = [pool.submit(append, ids) for ids in ("ab", "bc", "ab", "c")]
        try:
            for writer in writers:
                writer.result()
        finally:
            done.set()
        reader.result()
    ledger = Ledger(bucket_store())
    frame = ledger.read()
    assert len(frame) == 3 * hours * 2 and not frame.duplicated(["unique_id", "cutoff", "step"]).any()
    assert ledger.append(issue(3), model_version="m") == 0 and ledger.model_versions() == {"m"}
    assert max(part.issues for part in ledger.parts()) > 1, "some were merged"
    found, number = [], -1
    while (more := ledger.issue_after(number)) is not None:
        number, rows = more
        found.append(rows)
    assert len(pd.concat(found)) == len(frame) and ledger.issue_before(None)[0].last == number


def test_a_number_from_an_old_listing_does_not_lose_its_forecasts(bucket_store, monkeypatch):
    """The writer takes a number that lies, by then, inside a range that another machine has merged."""
    monkeypatch.setattr(ledger_module, "FANOUT", 3)
    monkeypatch.setattr(ledger_module, "SETTLE_SECONDS", -1.0)
    late, other = Ledger(bucket_store()), Ledger(bucket_store())
    other.append(issue(0), model_version="m")
    missing = Ledger.find_missing

    def slow(ledger, rows):
        found = missing(ledger, rows)
        if ledger is late:
            monkeypatch.setattr(Ledger, "find_missing", missing)
            for hour in (1, 2, 3):
                other.append(issue(hour), model_version="m")
            assert not any(entry.name.endswith("1-00000001.parquet") for entry in late.list_files()), "merged and swept"
        return found

    monkeypatch.setattr(Ledger, "find_missing", slow)
    assert late.append(issue(9), model_version="m") == 4
    assert Ledger(bucket_store()).read()["cutoff"].dt.hour.unique().tolist() == [0, 1, 2, 3, 9]


# What fails on the line, or in the store.


class Line:
    """Passes bytes on between a client and the server; `fault` may change, delay or end what the client sends."""

    def __init__(self, port):
        self.port, self.fault = port, lambda data: data
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.port))
            threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source, target, is_request):
        try:
            while data := source.recv(1 << 16):
                data = self.fault(data) if is_request else data
                if data is None:
                    break
                if is_request and data.startswith(b"HTTP/1.1 "):
                    source.sendall(data)
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            end.close()


@pytest.fixture
def line(s3_server, monkeypatch):
    line = Line(s3_server)
    monkeypatch.setenv("AWS_ENDPOINT_URL", line.url)
    yield line
    line.listener.close()


def test_a_store_that_refuses_connections_is_told_soon(bucket_store, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    began = time.monotonic()
    with pytest.raises(ConnectionError, match=r"the store s3://.*/sales cannot be reached.*AWS_ENDPOINT_URL"):
        bucket_store().backend.read("registry.json")
    assert time.monotonic() - began < 15


def test_slow_answers_end_in_a_timeout_and_slow_enough_ones_do_not(bucket_store, line):
    line.fault = lambda data: time.sleep(0.2) or data
    store = bucket_store(timeout_seconds=2)
    artifact = write(store)
    line.fault = lambda data: time.sleep(30) or data
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"does not answer within 2 s"):
        bucket_store(timeout_seconds=2).verify(artifact)
    assert time.monotonic() - began < 20


def test_an_upload_that_breaks_off_shows_nothing_and_the_next_one_is_whole(bucket_store, line):
    """20 MB; the line ends within the file, then again just before the manifest."""
    content, sent = np.random.default_rng(0).bytes(20_000_000), 0

    def make(store):
        with store.create("model") as draft:
            (draft.folder / "a.txt").write_text("small")
            (draft.folder / "weights").write_bytes(content)
        return draft.artifact

    def cut(data):
        nonlocal sent
        sent += len(data)
        return data if sent < 12_000_000 else None

    whole = make(Store(bucket_store.tmp_path / "elsewhere"))
    store = bucket_store()
    assert store.backend.artifacts() == []
    for fault in (cut, lambda data: None if b"manifest.json" in data[:300] else data):
        line.fault = fault
        with pytest.raises(ConnectionError):
            make(store)
        line.fault = lambda data: data
        assert all(kept.made is None for kept in store.backend.artifacts())
        with pytest.raises(DamagedArtifactError):
            bucket_store().path(whole)
        assert not list((store.root / "tmp").iterdir())
    assert make(store) == whole
    bucket_store().verify(whole)


@pytest.mark.parametrize(("header", "condition"), [(b"if-none-match", "name is free"), (b"if-match", "as read")])
def test_a_store_without_conditional_writes_is_refused(bucket_store, line, monkeypatch, header, condition):
    monkeypatch.setattr(bucket_module, "PROBED_BUCKETS", set())
    line.fault = lambda data: data.replace(header + b":", b"x" + header[1:] + b":")
    with pytest.raises(ValueError, match=rf"no conditional writes.*{condition}.*both win.*Take a store"):
        bucket_store().backend.read("registry.json")


def test_a_bucket_that_is_not_there_and_access_that_is_denied_are_told(tmp_path, bucket_store, line):
    with pytest.raises(ValueError, match="there is no bucket nowhere for the store s3://nowhere/x: create it"):
        Bucket("s3://nowhere/x").read("a")
    backend = bucket_store().backend
    backend.write("a", "b")
    body = b"<Error><Code>AccessDenied</Code></Error>"
    line.fault = lambda data: b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with pytest.raises(PermissionError, match=r"denies access.*AWS_ACCESS_KEY_ID"):
        bucket_store().backend.read("a")


def test_passwords_in_the_url_and_unknown_urls_are_refused(tmp_path):
    for url in ("s3://user:secret@bucket/x", "s3://bucket/x?secret_access_key=abc"):
        with pytest.raises(ValueError, match=r"contains (a password|the parameter secret)") as error:
            whole_root(url)
        assert "abc" not in str(error.value) and "secret@" not in str(error.value)
    assert whole_root("s3://bucket/x/") == "s3://bucket/x"
    assert whole_root("store") == str((tmp_path.cwd() / "store").resolve())
    with pytest.raises(ValueError, match="expected such as s3://bucket/folder"):
        Bucket("nosuch://bucket/x").read("a")
