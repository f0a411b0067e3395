"""Files become deployments, and a wrong file says which one it is and what is wrong with it."""

from datetime import timedelta
from inspect import signature
from pathlib import Path
from textwrap import dedent

import pytest

from deployments.catalog import ANCHOR, PIPELINES, CatalogError, read_catalog, read_pipeline, read_valid_pipelines
from deployments.register import import_flow
from lstm_model.contracts.settings import PipelineConfig
from lstm_model.contracts.settings_file import dump_config
from tests.factories import problem

MADE = "source: {kind: synthetic}\n"


def write(folder, name, text):
    file = folder / name
    file.write_text(text)
    return file


def jobs_of(pipeline):
    return {job.flow: job for job in pipeline.jobs}


def test_the_committed_pipelines():
    catalog = {pipeline.name: pipeline for pipeline in read_catalog()}
    assert {"tutorial", "panel", "shop_sales"} <= set(catalog)
    assert jobs_of(catalog["tutorial"])["retrain"].schedule is None
    nightly = jobs_of(catalog["panel"])["retrain"].schedule
    assert (nightly.cron, nightly.timezone) == ("15 3 * * *", "Europe/Berlin")
    for pipeline in catalog.values():
        assert pipeline.file.stem == pipeline.name
        assert pipeline.description.endswith(".") and "#" not in pipeline.description


def test_the_checksum_of_a_file_that_a_run_wrote_is_no_description(tmp_path):
    written = dump_config(problem(name="shop"))
    assert read_pipeline(write(tmp_path, "a.yaml", written)).description == ""
    assert read_pipeline(write(tmp_path, "b.yaml", f"# Sales.\n{written}")).description == "Sales."
    with pytest.raises(CatalogError, match=r"a\.yaml: line 1 is a checksum that does not fit .* delete line 1"):
        read_pipeline(write(tmp_path, "a.yaml", written + "horizon: 48\n"))


JOBS = [job for pipeline in read_catalog() for job in pipeline.jobs]


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.full_name)
def test_the_parameters_are_those_of_the_flow_without_schedules(job):
    accepted = set(signature(import_flow(job).fn).parameters)
    assert set(job.parameters) <= accepted and "store" in accepted
    if "config" in job.parameters:
        config = PipelineConfig.model_validate(job.parameters["config"])
        assert config.schedule is config.forecasting.schedule is config.monitoring.schedule is None
        assert config.select_modelling_settings() == job.pipeline.config.select_modelling_settings()
    assert "schedule" not in str(job.parameters)
    assert job.name in job.tags
    assert job.description.count(". ") >= (job.flow != "retrain")


def test_each_flow_has_its_own_schedule(tmp_path):
    text = """
        source: {kind: synthetic}
        name: a
        schedule: {cron: "15 3 * * 1"}
        forecasting: {schedule: {cron: "0 6 * * *", timezone: Europe/Berlin}, table: daily}
        monitoring: {schedule: {interval_seconds: 3600}, retrain: false}
        """
    jobs = jobs_of(read_pipeline(write(tmp_path, "a.yaml", dedent(text))))
    assert {flow: job.schedule_text for flow, job in jobs.items()} == {
        "retrain": "15 3 * * 1 UTC",
        "forecast": "0 6 * * * Europe/Berlin",
        "monitor": "every 3600 s",
        "backtest": "by hand",
        "promote": "by hand",
    }
    config = jobs["monitor"].parameters["config"]
    assert config == {
        "name": "a",
        "source": {"kind": "synthetic"},
        "forecasting": {"table": "daily"},
        "monitoring": {"retrain": False},
    }


def test_the_sample_file_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = read_pipeline(PIPELINES / "shop_sales.yaml").config.source.path
    assert path == str((PIPELINES / "data" / "shop_sales.csv").resolve())
    assert Path(path).read_text().startswith("date,shop,sales,promotion\n")


def test_an_interval_counts_from_a_fixed_date(tmp_path):
    file = write(tmp_path, "a.yaml", MADE + "name: a\nschedule: {interval_seconds: 90}")
    job = jobs_of(read_pipeline(file))["retrain"]
    assert (job.schedule.interval, job.schedule.anchor_date) == (timedelta(seconds=90), ANCHOR)
    assert job.schedule_text == "every 90 s"


def test_one_name_in_two_files_names_both(tmp_path):
    write(tmp_path, "a.yaml", MADE + "name: sales")
    write(tmp_path, "b.yml", MADE + "name: sales")
    with pytest.raises(CatalogError, match=r"a\.yaml and .*b\.yml have the name 'sales'"):
        read_catalog(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MADE + "name: a\nhorizn: 3", r"horizn: Extra inputs"),
        (MADE + "name: a\nhorizon: -3", r"horizon: .* \(received -3\)"),
        (MADE + "name: a\nadvanced: {model: {hidden_dim: wide}}", r"advanced\.model\.hidden_dim"),
        ("name: a\nsource: {kind: files}", r"source\.path is empty"),
        (MADE + "name: a\nschedule: {cron: '15 3 * *'}", r"cron"),
        (
            MADE + "name: a\nschedule: {cron: '15 3 * * *', timezone: Europe/Berlyn}",
            r"the schedule of retrain: timezone",
        ),
        (MADE + "name: a\nforecasting: {schedule: {cron: '61 3 * * *'}}", r"the schedule of forecast: cron"),
        ("- a\n- b", r"expected a mapping"),
        ("name: [", r"is not YAML"),
        ("a: " + "[" * 10_000, r"nest"),
        (MADE + "name: a\nschedule: {interval_seconds: 1.0e+300}", r"schedule"),
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


def test_broken_files_are_named_and_the_others_are_read(tmp_path):
    write(tmp_path, "broken.yaml", "name: [")
    write(tmp_path, "good.yaml", MADE + "horizon: 3")
    write(tmp_path, "typo.yaml", MADE + "horizn: 3")
    write(tmp_path, "twin.yaml", MADE + "name: one")
    write(tmp_path, "one.yml", MADE + "name: one")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "latin.yaml").write_bytes("# Stra\xdfe".encode("latin-1"))
    (tmp_path / "lost.yaml").symlink_to(tmp_path / "nowhere")
    pipelines, errors = read_valid_pipelines(tmp_path)
    assert [pipeline.name for pipeline in pipelines] == ["good"]
    named = [next(word for word in str(error).split() if word.startswith(str(tmp_path))) for error in errors]
    assert [Path(word.rstrip(":")).name for word in named] == [
        *("broken.yaml", "folder.yaml", "latin.yaml", "lost.yaml", "typo.yaml"),
        "one.yml",
    ]
    assert str(tmp_path / "twin.yaml") in str(errors[-1])
    with pytest.raises(CatalogError) as caught:  # what is generated for workers is all or nothing
        read_catalog(tmp_path)
    assert str(caught.value).splitlines() == [line for error in errors for line in str(error).splitlines()]


def test_only_broken_files_are_an_error_that_names_all(tmp_path):
    write(tmp_path, "a.yaml", MADE + "horizn: 3")
    write(tmp_path, "b.yaml", "name: [")
    with pytest.raises(CatalogError, match=r"a\.yaml: horizn(.|\n)*b\.yaml: it is not YAML"):
        read_valid_pipelines(tmp_path)
