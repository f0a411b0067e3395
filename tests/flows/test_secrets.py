"""A secret in a setting is in nothing that a run writes: store, Prefect's database, logs, output."""

import pytest

from tests.flows.conftest import Cli

SECRET = "hunter2XYZ"
SETTINGS = [
    ["source.kind=sql", "source.query=select 1", f"source.url=postgresql://reader:pa?{SECRET}@127.0.0.1:1/shop"],
    ["source.kind=sql", "source.query=select 1", f"source.url=mssql+pyodbc:///?odbc_connect=A%3Db%3BPWD%3D{SECRET}"],
    ["source.kind=files", f"source.path=http://127.0.0.1:1/x.csv?sig={SECRET}"],
    ["source.kind=files", f"source.path=http://{SECRET}@127.0.0.1:1/x.csv"],
    [f"forecasting.url=sqlite:///x.db?api_key={SECRET}"],
    [f"forecasting.password_from={SECRET}"],
    ["scaling.runner=ray", f"scaling.ray_address=ray://user:{SECRET}@127.0.0.1:1"],
    [f"notify=https://hooks.slack.com/services/T0/B0/{SECRET}"],
]


def find_secret_files(*folders):
    """Every file below the folders that holds the secret."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if SECRET.encode() in path.read_bytes()]


@pytest.mark.slow
def test_no_form_of_a_secret_is_written_anywhere(api_url, tmp_path, tmp_path_factory):
    """Runs fail later than the check of their settings where that misses one: the database then has the parameters."""
    home = tmp_path_factory.getbasetemp()
    cli, shown = Cli(api_url, tmp_path), []
    cli.environment["PREFECT_HOME"] = str(tmp_path / "home")
    for settings in SETTINGS:
        _, errors = cli.fail(*[part for setting in settings for part in ("--set", setting)], "--horizon", "2")
        shown.append(errors)
    databases = list(home.rglob("prefect.db"))
    assert databases, "the server of this session writes below pytest's folder"
    assert [path.name for path in find_secret_files(tmp_path, *{path.parent for path in databases})] == []
    assert not [text for text in shown if SECRET in text]
