"""The import rules: deployments → flows → tasks → lstm_model, never backwards."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("deployments", "flows", "tasks", "lstm_model")
HEAVY = {"torch", "pandas", "matplotlib", "pyarrow", "numpy"}
FILES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            yield node.module


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downwards(path):
    layer = LAYERS.index(path.relative_to(ROOT).parts[0])
    for name in imports(path):
        top = name.split(".")[0]
        assert top not in LAYERS[:layer], f"{LAYERS[layer]} must not import {name}"
        assert not (LAYERS[layer] == "lstm_model" and top == "prefect"), f"lstm_model must not import {name}"
        assert not (LAYERS[layer] in ("flows", "deployments") and top in HEAVY), f"a flow has no {name}; use a task"


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
    command = [sys.executable, "-c", f"{code}.artifacts(); sys.exit('obstore' in sys.modules)", "/nowhere"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
