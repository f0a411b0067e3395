"""Write `deployments/prefect.yaml`, for `prefect deploy` to a work pool, from `pipelines/*.yaml`.

python -m deployments.generate            # write it
python -m deployments.generate --check    # exit 1 if it is out of step
python -m deployments.generate --pipelines /srv/pipelines --store /mnt/store --output /srv/prefect.yaml
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from deployments.catalog import ANCHOR, CONCURRENCY, PIPELINES, SCHEDULE_SLUG, CatalogError, Job, Pipeline, read_catalog
from lstm_model.storage.backend import is_url

ROOT = Path(__file__).parent.parent
TARGET = Path(__file__).parent / "prefect.yaml"
WORK_POOL = "evergreen"
HEADER = """\
# Generated from deployments/pipelines/*.yaml by `python -m deployments.generate`: edit those, not this.
# From the root of the project: prefect --no-prompt deploy --all --prefect-file deployments/prefect.yaml
# There is no `pull` step: Prefect then records the folder that this is deployed from, and workers run there.
# There is no `active` key: a schedule that somebody paused stays paused.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the file; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deployments.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file is out of step")
    parser.add_argument("--pipelines", type=Path, default=PIPELINES, help="folder of the pipelines' YAML files")
    parser.add_argument(
        "--store", help="where all workers keep artifacts: an absolute path or a URL (default: ./store)"
    )
    parser.add_argument("--output", type=Path, default=TARGET, help="file to write (default: deployments/prefect.yaml)")
    options = parser.parse_args(arguments)
    if options.store and not is_url(options.store) and not Path(options.store).is_absolute():
        parser.error(
            f"--store is {options.store!r}, relative to wherever a worker runs; give an absolute path or a URL"
        )
    try:
        text = render_yaml(read_catalog(options.pipelines), store=options.store)
    except CatalogError as error:
        print(f"error: {error}")
        return 2
    if not options.check:
        options.output.write_text(text, encoding="utf-8")
        print(f"wrote {options.output}")
        return 0
    if not options.output.exists() or options.output.read_text(encoding="utf-8") != text:
        print(f"{options.output} is out of step with {options.pipelines}; run python -m deployments.generate")
        return 1
    return 0


def render_yaml(pipelines: Sequence[Pipeline], root: Path = ROOT, store: str | None = None) -> str:
    """Return the text of prefect.yaml; sources inside `root` are relative to it, and no store means the flows' own."""
    entries = [_make_entry(job, root, store) for pipeline in pipelines for job in pipeline.jobs]
    document = {"name": "evergreen", "deployments": entries}
    return HEADER + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


def _make_entry(job: Job, root: Path, store: str | None) -> dict[str, Any]:
    return {
        "name": job.name,
        "description": job.description,
        "tags": job.tags,
        "entrypoint": f"flows/{job.flow}.py:{job.flow}",
        "parameters": _make_portable(job.parameters, root) | ({"store": store} if store else {}),
        "work_pool": {"name": WORK_POOL},
        "schedules": _make_schedules(job),
        "concurrency_limit": dict(CONCURRENCY),
    }


def _make_schedules(job: Job) -> list[dict[str, Any]]:
    wanted = job.schedule_settings
    if wanted is None:
        return []
    timing: dict[str, Any] = {"cron": wanted.cron}
    if wanted.cron is None:
        timing = {"interval": wanted.interval_seconds, "anchor_date": ANCHOR.isoformat()}
    return [{**timing, "timezone": wanted.timezone, "slug": SCHEDULE_SLUG}]


def _make_portable(parameters: dict[str, Any], root: Path) -> dict[str, Any]:
    """Return parameters without machine paths: a source inside the project is relative to the worker's folder."""
    config = parameters.get("config", {})
    path = config.get("source", {}).get("path")
    if path is None or "://" in path or not Path(path).is_relative_to(root):
        return parameters
    relative = Path(os.path.relpath(path, root)).as_posix()
    return {**parameters, "config": {**config, "source": {**config["source"], "path": relative}}}


if __name__ == "__main__":
    raise SystemExit(main())
