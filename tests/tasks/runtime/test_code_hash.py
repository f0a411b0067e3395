"""The closure: a changed helper changes the hash of exactly the stages that reach it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.runtime.code_hash import module_closure

ROOT = Path(__file__).parents[3]
HASH = """import sys
from tasks.runtime.code_hash import closure_hash
print(*(closure_hash(f'tasks.stages.{m}') for m in sys.argv[1:]))"""
STAGES = ("generate", "ingest", "window", "train", "evaluate", "plot", "report")


def test_closures_are_deep_and_hold_this_project_alone():
    closure = module_closure("tasks.stages.window")
    assert {
        "tasks.stages.window",
        "lstm_model.windows.segments",
        "lstm_model.timeline.frequency",
    } <= closure
    assert not closure & {
        "lstm_model.training.train",
        "lstm_model.quality.doctor",
        "lstm_model.reporting.evaluation_plots",
    }
    assert {name.split(".")[0] for name in closure} == {"tasks", "lstm_model"}


def hashes(root, *, before=""):
    out = subprocess.run(
        [sys.executable, "-c", before + HASH, *STAGES], cwd=root, capture_output=True, text=True, check=True
    )
    return dict(zip(STAGES, out.stdout.split(), strict=True))


@pytest.fixture
def copy(tmp_path):
    for package in ("tasks", "lstm_model"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        ("lstm_model/sources/synthetic.py", {"generate"}),
        ("lstm_model/networks/gates.py", {"plot"}),
        ("lstm_model/windows/segments.py", {"window", "evaluate"}),
        ("lstm_model/reporting/templates/report.html.j2", {"report"}),
        ("lstm_model/storage/store.py", set(STAGES)),
    ],
)
def test_a_changed_helper_changes_exactly_the_stages_that_reach_it(copy, path, changed):
    before = hashes(copy)
    file = copy / path
    text = file.read_text()
    file.write_text(text + ("\nADDED = 1\n" if path.endswith(".py") else "<p>added</p>"))
    after = hashes(copy)
    assert {stage for stage in STAGES if before[stage] != after[stage]} == changed
    file.write_text(text)
    assert hashes(copy) == before


def test_comments_and_layout_do_not_count(copy):
    before = hashes(copy)
    file = copy / "lstm_model" / "storage" / "store.py"
    file.write_text("# A comment.\n" + file.read_text().replace("\n\n\n", "\n\n\n\n"))
    assert hashes(copy) == before


def test_a_python_that_mistakes_the_depth_of_a_tree_is_asked_again(copy):
    """Before 3.11.8, another thread that parses at the same moment makes this one fail."""
    mistaken = """import ast
parse, mistakes = ast.parse, [2]
def mistake(text):
    if mistakes[0]:
        mistakes[0] -= 1
        raise SystemError("AST constructor recursion depth mismatch (before=60, after=76)")
    return parse(text)
ast.parse = mistake
"""
    assert hashes(copy, before=mistaken) == hashes(copy)
