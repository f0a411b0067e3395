"""The import rules: deployments → flows → tasks → lstm_model, and from room to room inside a package, not backwards."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from docs.tree import ROOMS

ROOT = Path(__file__).parents[1]
LAYERS = ("deployments", "flows", "tasks", "lstm_model")
HEAVY = {"torch", "pandas", "matplotlib", "pyarrow", "numpy"}
FILES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]
ORDERED = {package: ROOMS[package] for package in ("lstm_model", "tasks")}
"""Their rooms in order: each imports only itself and those before it."""


def imports(path):
    """Every import of a file, those inside functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            yield node.module, node.lineno


def modules_of(package):
    """Every module of a package by its dotted name."""
    files = sorted((ROOT / package).rglob("*.py"))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def imported_modules(path, modules):
    """The modules of `modules` that a file imports, with the lines; `from room import module` counts as the module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in modules else node.module for name in whole]
        else:
            continue
        yield from ((name, node.lineno) for name in names if name in modules)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downwards(path):
    layer = LAYERS.index(path.relative_to(ROOT).parts[0])
    for name, _ in imports(path):
        top = name.split(".")[0]
        assert top not in LAYERS[:layer], f"{LAYERS[layer]} must not import {name}"
        assert not (LAYERS[layer] == "lstm_model" and top == "prefect"), f"lstm_model must not import {name}"
        assert not (LAYERS[layer] in ("flows", "deployments") and top in HEAVY), f"a flow has no {name}; use a task"


@pytest.mark.parametrize("package", ORDERED)
def test_a_room_imports_only_rooms_before_it(package):
    rooms, breaches = ORDERED[package], []
    assert {path.parent.name for path in (ROOT / package).glob("*/__init__.py")} == set(rooms)
    for path in sorted((ROOT / package).rglob("*.py")):
        inside = path.relative_to(ROOT / package).parts
        for name, line in imports(path):
            top, _, rest = name.partition(".")
            if top != package:
                continue
            room = rest.split(".")[0]
            if room not in rooms or len(inside) < 2 or rooms.index(room) > rooms.index(inside[0]):
                breaches.append(f"{path.relative_to(ROOT)}:{line}: imports {name}")
    assert not breaches, "\n".join(breaches)


@pytest.mark.parametrize("package", ORDERED)
def test_modules_do_not_import_each_other_in_a_circle(package):
    modules = modules_of(package)
    edges = {(name, *found) for name, path in modules.items() for found in imported_modules(path, modules)}
    while True:  # take away what imports nothing that is left, and what nothing that is left imports
        sources, targets = {edge[0] for edge in edges}, {edge[1] for edge in edges}
        inner = {edge for edge in edges if edge[0] in targets and edge[1] in sources}
        if inner == edges:
            break
        edges = inner
    circle = [f"{modules[name].relative_to(ROOT)}:{line}: imports {target}" for name, target, line in sorted(edges)]
    assert not circle, "\n".join(circle)


@pytest.mark.parametrize("package", LAYERS)
def test_an_init_file_holds_a_docstring_alone(package):
    """The code hash does not look into parents, and an import there would reach runs that have no use for it."""
    for path in sorted((ROOT / package).rglob("__init__.py")):
        if path == ROOT / "flows" / "__init__.py":  # sets what torch reads before its first allocation
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree) and len(tree.body) == 1, path.relative_to(ROOT)


def test_contracts_cost_nothing_to_import():
    allowed = {*sys.stdlib_module_names, "pydantic", "pydantic_core", "yaml", "lstm_model"}
    for path in sorted((ROOT / "lstm_model" / "contracts").rglob("*.py")):
        for name, line in imports(path):
            assert name.split(".")[0] in allowed, f"{path.relative_to(ROOT)}:{line}: imports {name}"


def test_tasks_do_not_call_tasks():
    """A stage may use a plain function of another stage's module, never its task."""
    names = {
        node.name
        for path in (ROOT / "tasks").rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and any("task" in ast.unparse(d) for d in node.decorator_list)
    }
    assert {"ingest", "window", "train", "evaluate"} <= names
    for path in (ROOT / "tasks").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tasks."):
                assert not {alias.name for alias in node.names} & names, f"{path.name} imports a task"


def test_lstm_model_reads_no_environment():
    for path in (ROOT / "lstm_model").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")), path


def test_there_is_no_utils():
    assert not [path for path in FILES if path.stem in ("utils", "helpers", "misc", "common")]


def test_importing_lstm_model_brings_no_prefect():
    modules = "lstm_model.training.train, lstm_model.reporting.report, lstm_model.quality.doctor"
    code = f"import sys, {modules}; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_store_in_a_folder_brings_no_obstore():
    code = "import sys, flows.retrain; from tasks.actions.publish import open_store; open_store(sys.argv[1], 'a')"
    command = [sys.executable, "-c", f"{code}.backend.artifacts(); sys.exit('obstore' in sys.modules)", "/nowhere"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def read_modules():
    """The syntax tree of every file of the project, its tests and benchmarks, by the dotted name of the module."""
    trees = {}
    for top in (*LAYERS, "benchmarks", "docs", "tests"):
        for path in (ROOT / top).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            trees[name] = ast.parse(path.read_text(encoding="utf-8"))
    return trees


def names_in(tree):
    """All that a module defines or imports, at whatever depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)


def test_every_name_that_is_imported_from_the_project_exists():
    """Also inside functions, and in files that no fast test imports."""
    trees = read_modules()
    known = {name: {*names_in(tree)} for name, tree in trees.items()}
    imported = [(name, node) for name, tree in trees.items() for node in ast.walk(tree)]
    imported = [(name, node) for name, node in imported if isinstance(node, ast.ImportFrom) and node.module in trees]
    assert len(imported) > 1000
    for name, node in imported:
        for alias in node.names:
            found = alias.name in known[node.module] or f"{node.module}.{alias.name}" in trees
            assert found, f"{name}, line {node.lineno}: {node.module} has no {alias.name}"


def test_every_module_that_is_imported_from_the_project_exists():
    trees = read_modules()
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.ImportFrom)
                and node.module
                and node.module.split(".")[0] in (*LAYERS, "benchmarks")
            ):
                found = any(known == node.module or known.startswith(f"{node.module}.") for known in trees)
                assert found, f"{name}, line {node.lineno}: there is no {node.module}"
