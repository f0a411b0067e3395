"""Who may use the server that is started here: the settings that say so."""

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings

from deployments.server import Server, ServerError, make_server_settings


def read_origins(host="127.0.0.1", **settings):
    with temporary_settings(settings and {PREFECT_UI_URL: settings["ui_url"]}):
        made = make_server_settings(host, 4300)
    return made["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"].split(","), made.get("PREFECT_SERVER_UI_API_URL")


def test_without_a_setting_only_this_machine_s_own_addresses_may():
    with temporary_settings({PREFECT_API_URL: "http://elsewhere.example:4200/api"}):  # which is no address of the UI's
        assert read_origins() == (["http://127.0.0.1:4300", "http://localhost:4300"], None)


@pytest.mark.parametrize(
    ("ui_url", "origin", "api_url"),
    [
        ("https://Forecasts.example/", "https://forecasts.example", "https://Forecasts.example/api"),
        ("https://forecasts.example:443", "https://forecasts.example", "https://forecasts.example:443/api"),
        ("http://box:8080/prefect", "http://box:8080", "http://box:8080/prefect/api"),
    ],
)
def test_one_setting_opens_it_to_the_address_behind_a_proxy(ui_url, origin, api_url):
    origins, called = read_origins(ui_url=ui_url)
    assert (origins[-1], called) == (origin, api_url)
    with temporary_settings({PREFECT_UI_URL: ui_url}):
        assert Server("http://127.0.0.1:4300/api").ui_url == ui_url.rstrip("/")


@pytest.mark.parametrize("ui_url", ["forecasts.example", "file:///srv", "https://", "*"])
def test_what_is_no_address_is_an_error(ui_url):
    with pytest.raises(ServerError, match="expected an address such as"):
        read_origins(ui_url=ui_url)


def test_another_host_to_listen_on_is_an_own_address():
    assert read_origins("192.0.2.7")[0][-1] == "http://192.0.2.7:4300"
