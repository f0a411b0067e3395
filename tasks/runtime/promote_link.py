"""Link to the page of the Prefect UI where a person approves a bundle: the form of `promote`, filled in."""

from __future__ import annotations

import json
from urllib.parse import quote

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL


def promote_link(name: str, bundle: str, reason: str = "") -> str | None:
    """URL of the form; None where there is no server that stays, or no deployment promote/NAME on it.

    Args:
        name: of the forecasting problem.
        bundle: version that the form proposes.
        reason: that the form proposes.
    """
    if not PREFECT_API_URL.value() or not PREFECT_UI_URL.value():
        return None
    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(f"promote/{name}")
        except ObjectNotFound:
            return None
    # All parameters are given: the form takes these in place of the deployment's own.
    parameters = json.dumps({**deployment.parameters, "bundle": bundle, "reason": reason})
    pages = str(PREFECT_UI_URL.value()).rstrip("/")
    return f"{pages}/v2/deployments/deployment/{deployment.id}/run?parameters={quote(parameters)}"
