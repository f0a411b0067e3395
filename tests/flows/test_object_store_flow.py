"""The flows on a store in a bucket, each run from a machine that knows nothing but the bucket."""

import os

import pytest

pytest.importorskip("obstore", reason="obstore is not installed: pip install 'evergreen-forecast[s3]'")

from flows.arguments import build_config, parse_arguments
from lstm_model.contracts.settings_file import SettingsError, dump_config
from lstm_model.storage.bucket import Bucket
from tests.factories import problem


@pytest.fixture
def on_machine(cli, bucket):
    """The command line on a machine with caches of its own."""

    def named(name, *arguments, **options):
        cli.environment |= {key: value for key, value in os.environ.items() if key.startswith("AWS_")}
        cli.environment["XDG_CACHE_HOME"] = str(cli.folder / name)
        return cli(*arguments, "--store", bucket, **options)

    return named


def test_a_config_in_a_bucket_is_checked_and_named_by_its_url(bucket):
    config = problem(name="tiny", horizon=6)
    Bucket(bucket).write("pipeline.yaml", dump_config(config))
    url = f"{bucket}/pipeline.yaml"
    assert build_config(parse_arguments("retrain", ["--config", url])).horizon == 6
    Bucket(bucket).write("pipeline.yaml", dump_config(config).replace("horizon: 6", "horizon: 7"))
    with pytest.raises(SettingsError, match=rf"^{url}: line 1 is a checksum that does not fit"):
        build_config(parse_arguments("retrain", ["--config", url]))


@pytest.mark.slow
def test_a_new_machine_computes_nothing_again_and_carries_on(on_machine, cli, tiny, bucket, helpers):
    first = on_machine("one", "--config", tiny)
    assert first["status"] == "promoted" and len(helpers.computed(first)) > 5
    assert first["report"] == f"{bucket}/tiny/report.html"
    again = on_machine("two", "--config", tiny)
    assert helpers.computed(again) == [] and again["status"] == "unchanged" and again["bundle"] == first["bundle"]

    issued = on_machine("three", "--config", tiny, flow="forecast")
    assert issued["status"] == "issued" and issued["issue"]["new_rows"] == 12
    assert on_machine("four", "--config", tiny, flow="forecast")["status"] == "unchanged"
    seen = on_machine("four", "--config", f"{bucket}/tiny/pipeline.yaml", flow="monitor")
    assert seen["champion"] == first["bundle"] and seen["status"] in ("normal", "waiting")

    other = on_machine("two", "--config", tiny, "--set", "advanced.training.max_steps=21", "--promote", "ask")
    assert f"--store {bucket}" in other["how_to_promote"] and other["report"].startswith(f"{bucket}/tiny/")
    promoted = on_machine("five", other["bundle"], "--name", "tiny", flow="promote")
    assert promoted["champion"] == other["bundle"] and promoted["before"] == first["bundle"]
    back = on_machine("six", "previous", "--name", "tiny", flow="promote")
    assert back["champion"] == first["bundle"]
    assert not (cli.folder / "store").exists()


@pytest.mark.slow
def test_an_artifact_that_the_bucket_lost_is_computed_again(on_machine, tiny, bucket, helpers, tmp_path):
    from lstm_model.storage.bucket import Bucket

    first = on_machine("one", "--config", tiny)
    kept = Bucket(f"{bucket}/tiny")
    lost = next(record["artifact"]["sha256"] for record in first["stages"] if record["stage"] == "plot")
    for entry in kept.entries(f"artifacts/plots/{lost}"):
        kept.remove(entry.name)
    again = on_machine("two", "--config", tiny)
    assert helpers.stages(again)["plot"] == "repaired" and helpers.computed(again) == ["plot"]
    assert helpers.computed(on_machine("three", "--config", tiny)) == []
