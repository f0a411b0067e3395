"""Start the server that lasts as long as one run of the command line, closed to every web page."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import get_current_settings

from tasks.runtime.prefect_server import APP, LOCALHOST


class TemporaryServer(SubprocessASGIServer):
    """Prefect's temporary server, which has no UI, and refuses what any page sends; Prefect finds it by its base."""

    def _run_uvicorn_command(self) -> subprocess.Popen[Any]:
        where = ["--host", LOCALHOST, "--port", str(self.port), "--log-level", "error", "--lifespan", "on"]
        own = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ""}
        settings = get_current_settings().to_environment_variables(exclude_unset=True)
        command = [sys.executable, "-m", "uvicorn", "--factory", APP, *where]
        return subprocess.Popen(command, env={**os.environ, **settings, **own})
