"""Show pages in the Prefect UI: one key for each kind of page and problem, so that the UI keeps their history."""

from __future__ import annotations

from prefect.artifacts import create_markdown_artifact


def show_markdown(kind: str, name: str, markdown: str, *, description: str) -> None:
    """Show a page under its key, such as report-panel; Prefect allows no underscore in it.

    Args:
        kind: of the page.
        name: of the forecasting problem.
        markdown: the page.
        description: what the list of artifacts says of it.
    """
    create_markdown_artifact(key=f"{kind}-{name}".replace("_", "-"), markdown=markdown, description=description)
