"""What an operator does in the browser: open the deployment, change the form, run it, look at the report, approve.

Screenshots go to the folder that EVERGREEN_SCREENSHOTS names, else to the test's own.
"""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from lstm_model.contracts.artifact import version_of
from lstm_model.lifecycle.registry import Registry
from lstm_model.storage.store import Store
from tasks.runtime.promote_link import promote_link

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser at {CHROMIUM} (Debian: apt install chromium)"),
]


@pytest.fixture
def page():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS.split())
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(60_000)
        playwright.expect.set_options(timeout=60_000)
        yield page
        browser.close()


@pytest.fixture
def shoot(page, tmp_path):
    folder = Path(os.environ.get("EVERGREEN_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)

    def shoot(name, **options):
        page.wait_for_timeout(1500)  # fonts and transitions
        page.screenshot(path=folder / f"{name}.png", **options)

    return shoot


def field(page, label, *, optional=True):
    """The innermost group of the form with this label: the UI links only some labels to their inputs."""
    text = f"{label} (Optional)" if optional else label
    return page.locator("div.group", has=page.get_by_text(text, exact=True)).last


def submit(page):
    """As a person does: once more where a busy server answered 503."""
    for _ in range(4):
        page.get_by_role("button", name="Submit").click()
        with suppress(playwright.TimeoutError):
            page.wait_for_url(lambda url: "/run?" not in url, timeout=20_000)
            return
    raise AssertionError("the form was not taken")


def test_change_a_parameter_run_see_the_report_and_approve(server, client, runs, page, shoot, wait_for):
    page.goto(server.api_url.removesuffix("/api"))
    page.get_by_role("link", name="Deployments").click()
    page.get_by_placeholder("Search deployments").fill("tiny")
    retrain = page.get_by_role("row").filter(has=page.get_by_text("retrain", exact=True))
    retrain.get_by_role("link", name="tiny").wait_for()
    page.get_by_role("link", name="nightly").wait_for(state="detached")
    shoot("1-deployments")
    retrain.get_by_role("link", name="tiny").click()
    page.get_by_role("button", name="Run", exact=True).click()
    shoot("2-deployment")
    page.get_by_role("menuitem", name="Custom run").click()

    horizon = field(page, "Horizon").get_by_role("spinbutton")
    playwright.expect(horizon).to_have_value("6")
    horizon.fill("8")
    page.get_by_role("button", name="Select promote").click()
    page.get_by_role("option", name="ask").click()
    shoot("3-form", full_page=True)
    before = {run.id for run in runs("tiny")}
    submit(page)
    (run,) = wait_for("the run", lambda: [run for run in runs("tiny") if run.id not in before])
    assert run.parameters["config"]["horizon"] == 8 and run.parameters["promote"] == "ask"
    done = wait_for("its end", lambda: (now := client.read_flow_run(run.id)).state.is_final() and now)
    assert done.state.is_completed(), done.state

    page.goto(f"{server.api_url.removesuffix('/api')}/v2/runs/flow-run/{run.id}")
    page.get_by_text("Completed").first.wait_for()
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_role("link", name="report-tiny").first.wait_for()
    shoot("4-run")
    page.get_by_role("link", name="report-tiny").first.click()  # the history of the report
    page.wait_for_url("**/artifacts/key/report-tiny")
    page.locator("a[href*='/artifacts/artifact/']").first.click()  # its newest version
    picture = page.locator("img[src^='data:image/']").first
    picture.scroll_into_view_if_needed()
    wait_for("the plot", lambda: picture.evaluate("image => image.complete && image.naturalWidth") > 300)
    shoot("5-report", full_page=True)
    assert page.get_by_role("cell", name="seasonal naive").first.is_visible()
    assert picture.evaluate("image => image.naturalHeight") > 100

    registry = Registry(Store(server.store / "tiny"))
    assert registry.get("champion") is None
    version = version_of(registry.get("challenger"))
    page.goto(promote_link("tiny", version, "looks right"))
    playwright.expect(field(page, "bundle", optional=False).get_by_role("textbox")).to_have_value(version)
    playwright.expect(field(page, "reason").get_by_role("textbox")).to_have_value("looks right")
    shoot("6-approve", full_page=True)
    submit(page)
    wait_for("the champion", lambda: registry.get("champion"))
    assert version_of(registry.get("champion")) == version
    assert registry.state().history[-1].why == "looks right"
