"""The server of one run of the command line: closed to web pages, without an address of pages, gone with the run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
import threading
import httpx
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from prefect.utilities.urls import url_for
from flows.cli import use_run_settings
from tasks.runtime.promote_link import promote_link

@flow
def tiny(): ...

with use_run_settings():
    tiny()
    url = PREFECT_API_URL.value()
    pages = {"Origin": "http://evil.example"}, {"Origin": url.removesuffix("/api")}, {"Host": "evil.example"}
    print("pages", {httpx.post(f"{url}/flows/filter", json={}, headers=page).status_code for page in pages})
    with get_client(sync_client=True) as client:
        (run,) = client.read_flow_runs()
        print("run", run.state.type.value, url_for(run), promote_link("tiny", "bundle"))
    others = threading.Thread(target=lambda: print("thread", PREFECT_API_URL.value() == url))
    others.start()
    others.join()
    print("imported", "prefect.server.api.server" in sys.modules)
print("server", url)
print("afterwards", PREFECT_API_URL.value())
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_is_closed_to_web_pages_has_no_pages_of_its_own_and_ends_with_the_run(tmp_path):
    (tmp_path / "run.py").write_text(SCRIPT)
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "home"), "PYTHONPATH": str(Path(__file__).parents[3])}
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, tmp_path / "run.py"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=800)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "pages {403}" in output
    assert "run COMPLETED None None" in output  # links would lead nowhere as soon as the run has ended
    assert "thread True" in output  # else the thread that takes the messages of worker processes starts another server
    assert "afterwards None" in output
    assert "imported False" in output  # its import takes this process seconds
    assert "Traceback" not in output and "ERROR" not in output
    port = re.search(r"server http://127\.0\.0\.1:(\d+)/api", output)[1]
    assert subprocess.run(["pgrep", "-f", f"create_temporary_app.*--port {port}"], capture_output=True).stdout == b""
