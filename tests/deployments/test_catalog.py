"""Files become deployments, and a wrong file says which one it is and what is wrong with it."""

from datetime import timedelta
from pathlib import Path

import pytest

from deployments.catalog import ANCHOR, PIPELINES, CatalogError, read_catalog, read_pipeline
from lstm_model.config import PipelineConfig


def write(folder, name, text):
    file = folder / name
    file.write_text(text)
    return file


def test_the_committed_pipelines():
    catalog = {pipeline.name: pipeline for pipeline in read_catalog()}
    assert {"tutorial", "panel", "shop_sales"} <= set(catalog)
    assert catalog["tutorial"].schedule is None
    assert catalog["panel"].schedule.cron == "15 3 * * *"
    assert catalog["panel"].schedule.timezone == "Europe/Berlin"
    for pipeline in catalog.values():
        assert pipeline.file.stem == pipeline.name
        assert pipeline.description.endswith(".") and "#" not in pipeline.description


@pytest.mark.parametrize("pipeline", read_catalog(), ids=lambda p: p.name)
def test_the_parameters_are_the_config_without_its_schedule(pipeline):
    wanted = pipeline.config.model_copy(update={"schedule": None})
    assert PipelineConfig.model_validate(pipeline.parameters()) == wanted


def test_the_sample_file_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = read_pipeline(PIPELINES / "shop_sales.yaml").config.source.path
    assert path == str((PIPELINES / "data" / "shop_sales.csv").resolve())
    assert Path(path).read_text().startswith("date,shop,sales,promotion\n")


def test_an_interval_counts_from_a_fixed_date(tmp_path):
    file = write(tmp_path, "a.yaml", "name: a\nschedule: {interval_seconds: 90}")
    schedule = read_pipeline(file).schedule
    assert (schedule.interval, schedule.anchor_date) == (timedelta(seconds=90), ANCHOR)
    assert read_pipeline(file).when == "every 90 s"


def test_one_name_in_two_files_names_both(tmp_path):
    write(tmp_path, "a.yaml", "name: sales")
    write(tmp_path, "b.yml", "name: sales")
    with pytest.raises(CatalogError, match=r"a\.yaml and .*b\.yml both have the name 'sales'"):
        read_catalog(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nhorizn: 3", r"horizn: Extra inputs"),
        ("name: a\nhorizon: -3", r"horizon: .* \(received -3\)"),
        ("name: a\nadvanced: {model: {hidden_dim: wide}}", r"advanced\.model\.hidden_dim"),
        ("name: a\nsource: {kind: files}", r"source\.path is empty"),
        ("name: a\nschedule: {cron: '15 3 * *'}", r"cron"),
        ("name: a\nschedule: {cron: '15 3 * * *', timezone: Europe/Berlyn}", r"timezone"),
        ("- a\n- b", r"expected a mapping"),
        ("name: [", r"is not YAML"),
    ],
)
def test_a_wrong_file_names_itself_and_the_field(tmp_path, text, message):
    file = write(tmp_path, "bad.yaml", text)
    with pytest.raises(CatalogError, match=message) as caught:
        read_pipeline(file)
    assert str(caught.value).count(str(file)) == 1


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(CatalogError, match="no pipelines"):
        read_catalog(tmp_path)
