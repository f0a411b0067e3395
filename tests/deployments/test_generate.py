"""`prefect.yaml` says what the pipelines say, and nothing about the machine that it was written on."""

import pytest
import yaml

from deployments import generate
from deployments.catalog import read_catalog, read_pipeline


def test_the_committed_file_is_in_step():
    assert generate.main(["--check"]) == 0, "run python -m deployments.generate"


def test_a_file_out_of_step_is_noticed(tmp_path, monkeypatch, capsys):
    stale = tmp_path / "prefect.yaml"
    stale.write_text("name: evergreen\n")
    monkeypatch.setattr(generate, "TARGET", stale)
    assert generate.main(["--check"]) == 1
    assert "out of step" in capsys.readouterr().out
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0


@pytest.fixture
def entries():
    document = yaml.safe_load(generate.render_yaml(read_catalog()))
    return {f"{entry['entrypoint'].split(':')[1]}/{entry['name']}": entry for entry in document["deployments"]}


def test_an_entry_has_all_that_prefect_needs(entries):
    assert entries["retrain/panel"]["schedules"] == [
        {"cron": "15 3 * * *", "timezone": "Europe/Berlin", "slug": "pipeline"}
    ]
    assert entries["retrain/tutorial"]["schedules"] == []
    assert entries["promote/panel"]["parameters"] == {"name": "panel", "notify": None}
    for name, entry in entries.items():
        flow = name.split("/")[0]
        assert entry["entrypoint"] == f"flows/{flow}.py:{flow}"
        assert entry["work_pool"] == {"name": "evergreen"}
        assert entry["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}


def test_nothing_names_this_machine_or_undoes_a_pause(entries):
    text = generate.render_yaml(read_catalog())
    assert str(generate.ROOT) not in text
    path = entries["retrain/shop_sales"]["parameters"]["config"]["source"]["path"]
    assert path == "deployments/pipelines/data/shop_sales.csv"
    assert all("active" not in schedule for entry in entries.values() for schedule in entry["schedules"])


def test_a_source_elsewhere_keeps_its_path(tmp_path):
    file = tmp_path / "far.yaml"
    file.write_text("name: far\nsource: {kind: files, path: far.csv}\nschedule: {interval_seconds: 3600}")
    entry, *_ = yaml.safe_load(generate.render_yaml([read_pipeline(file)]))["deployments"]
    assert entry["parameters"]["config"]["source"]["path"] == str(tmp_path / "far.csv")
    assert entry["schedules"][0]["interval"] == 3600
    assert entry["schedules"][0]["anchor_date"].startswith("2000-01-01")


def test_pipelines_and_a_store_of_ones_own(tmp_path, capsys):
    (tmp_path / "far.yaml").write_text("name: far\nsource: {kind: files, path: far.csv}")
    target = tmp_path / "prefect.yaml"
    mine = ["--pipelines", str(tmp_path), "--output", str(target)]
    for store in ("/mnt/store", "s3://bucket/store"):
        assert generate.main([*mine, "--store", store]) == 0
        entries = yaml.safe_load(target.read_text())["deployments"]
        assert {(entry["name"], entry["parameters"]["store"]) for entry in entries} == {("far", store)}
        target.unlink()  # it lies in the folder of the pipelines
    with pytest.raises(SystemExit):
        generate.main([*mine, "--store", "mine"])
    assert "'mine'" in capsys.readouterr().err and not target.exists()
