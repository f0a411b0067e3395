"""Write docs/tree.md, which lists every file of the packages, and the tree in README.md: `make tree`.

A line is the first line of the file's docstring, or of the package's `__init__.py` for a folder.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = {
    "flows": (),
    "tasks": ("runtime", "stages", "actions"),
    "lstm_model": (
        "contracts",
        "compute",
        "storage",
        "timeline",
        "sources",
        "quality",
        "series",
        "windows",
        "networks",
        "forecast",
        "evaluation",
        "training",
        "lifecycle",
        "reporting",
    ),
    "deployments": (),
    "benchmarks": ("peers", "strangers"),
}
"""The packages and their rooms; in `tasks` and `lstm_model` a room imports only itself and those before it."""
WITHOUT_DOCSTRING = {
    "benchmarks/strangers": "Name public data sets on which the defaults are tried.",
    "deployments/pipelines": "Hold one forecasting problem a file: a YAML file, and the data that it names.",
    "deployments/prefect.yaml": "Define all deployments for `prefect deploy`; written by `make deployments`.",
    "lstm_model/reporting/templates": "Hold the report's templates: one HTML file, and Markdown.",
}
"""What cannot say it itself, beside the Python files."""
PLACES = {
    "docs/": "tutorial.md, reference.md (settings), operations.md, scaling.md, benchmarks.md, decisions.md, tree.md",
    "tests/": "mirror the packages, room by room",
}
HEAD = (
    "Every file, with what it does: [docs/tree.md](docs/tree.md). "
    "A room of `tasks` and `lstm_model` imports only those above it."
)
TREE = re.compile(r"(?<=## The tree\n\n).*?```text\n.*?```\n", re.DOTALL)


def read_line(path: Path) -> str:
    """Return the first line of a module's docstring, or of a package's."""
    name = path.relative_to(ROOT).as_posix()
    if name in WITHOUT_DOCSTRING:
        return WITHOUT_DOCSTRING[name]
    file = path / "__init__.py" if path.is_dir() else path
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    assert docstring, f"{name} has no docstring"
    return docstring.splitlines()[0]


def list_files(folder: Path) -> list[Path]:
    """Return what a folder's table lists: its Python files, and what `WITHOUT_DOCSTRING` names; rooms come apart."""
    named = {ROOT / name for name in WITHOUT_DOCSTRING} - {folder / room for room in ROOMS.get(folder.name, ())}
    return sorted(p for p in folder.iterdir() if (p.suffix == ".py" and p.name != "__init__.py") or p in named)


def write_table(folder: Path) -> list[str]:
    """Return the lines of a table of a folder's files, each a link."""
    rows = []
    for path in list_files(folder):
        shown = f"{path.name}/" if path.is_dir() else path.name
        rows.append(f"| [{shown}](../{path.relative_to(ROOT).as_posix()}) | {read_line(path)} |")
    return ["| file | what it does |", "| --- | --- |", *rows, ""] if rows else []


def write_page() -> str:
    """Return docs/tree.md."""
    head = "Every file of the packages, by room. `make tree` writes this page from the docstrings."
    lines = ["# The tree", "", head, ""]
    for package, rooms in ROOMS.items():
        lines += [f"## {package}", "", read_line(ROOT / package), "", *write_table(ROOT / package)]
        for room in rooms:
            lines += [f"### {package}/{room}", "", read_line(ROOT / package / room), ""]
            lines += write_table(ROOT / package / room)
    return "\n".join(lines)


def write_overview() -> str:
    """Return the README's tree: packages, rooms, and the flows, where a reader starts."""
    rows = []
    for package, rooms in ROOMS.items():
        rows.append((f"{package}/", read_line(ROOT / package)))
        inside = list_files(ROOT / package) if package == "flows" else [ROOT / package / room for room in rooms]
        rows += [(f"  {p.name}/" if p.is_dir() else f"  {p.name}", read_line(p)) for p in inside]
    rows += PLACES.items()
    text = "\n".join(f"{name:<18}{line}" for name, line in rows)
    return f"{HEAD}\n\n```text\n{text}\n```\n"


def main() -> None:
    """Write both."""
    (ROOT / "docs" / "tree.md").write_text(write_page(), encoding="utf-8")
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    readme.write_text(TREE.sub(lambda _: write_overview(), text), encoding="utf-8")


if __name__ == "__main__":
    main()
