"""Everything that the README and the page for learners tell a user to type works."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from docs import reference, tree
from lstm_model.contracts.settings import PipelineConfig

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")


def commands():
    """Lines of the shell blocks."""
    for block in re.findall(r"```sh\n(.*?)```", README + TUTORIAL, re.DOTALL):
        yield from (line.split("  #")[0].strip() for line in block.splitlines() if line.strip() and line[0] != "#")


def test_no_figure_is_left_to_fill_in():
    for page in (ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")):
        assert not re.search("@@|@[A-Z0-9]+@", page.read_text()), page.name


def test_the_version_is_the_newest_of_the_changelog():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert project["version"] == newest.group(1)


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z][a-z0-9-]*)", README + TUTORIAL):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"


def test_files_that_it_names_exist():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    known = {part for path in listed for part in Path(path).parts}
    tree = re.search(r"```text\n(.*?)```", README, re.DOTALL).group(1)
    for name in re.findall(r"^ {0,4}([\w./*-]+\.(?:py|md|yaml|txt)|[\w]+/)", tree, re.MULTILINE):
        assert name.rstrip("/") in known, name
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(((?!http)[^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_decisions_stand_newest_first_below_an_index_of_all():
    page = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
    titles = re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert re.findall(r"^- \[(.*?)\]\(#", page, re.MULTILINE) == titles and len(titles) > 40
    days = [title[:10] for title in titles]
    assert days == sorted(days, reverse=True)


def test_the_tree_lists_every_file_with_its_docstring():
    page = (ROOT / "docs" / "tree.md").read_text(encoding="utf-8")
    assert page == tree.write_page(), "run make tree"
    assert tree.write_overview() in README, "run make tree"
    for package in tree.ROOMS:
        for path in sorted((ROOT / package).rglob("*.py")):
            folder = path.parent.relative_to(ROOT).as_posix()
            assert path.name == "__init__.py" or f"](../{folder}/{path.name})" in page, path


def test_the_reference_lists_every_setting_with_its_meaning():
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert page == reference.write_page(), "run make reference"
    fields = [field for _, model in reference.list_sections(PipelineConfig) for field in model.model_fields.values()]
    assert len(fields) > 70 and all(field.description or reference.find_section(field) for field in fields)
    for name in re.findall(r"`(advanced(?:\.\w+)+|source\.\w+|scaling\.\w+)[=`]", README + TUTORIAL):
        section, _, setting = name.rpartition(".")
        assert f"| `{setting}` |" in page.split(f"\n## {section}\n")[1].split("\n## ")[0], name


def test_limits_and_numbers_of_the_cache_table_are_the_stages():
    from flows import shards
    from flows.retrain import retrain

    for stage in ("generate", "ingest", "window", "train", "evaluate", "gate", "bundle", "plot", "report"):
        assert f"| {stage} |" in README
        assert stage in {*retrain.fn.__globals__, *vars(shards)}


def what_make_runs(target):
    """The last command of a target, which is not run."""
    # Below another make, as in `make test-slow`, a make also says which folder it enters and leaves.
    dry = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", target], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return dry.stdout.splitlines()[-1]


RETRAIN, OTHERS, LOOKS = [what_make_runs("tutorial")], [], []
for command in dict.fromkeys(commands()):
    if command.startswith(".venv/bin/python -m flows."):
        kinds = {"flows.retrain": RETRAIN, "flows.check": LOOKS}
        kinds.get(command.split()[2], OTHERS).append(command)


def run(line, folder, prefect_home):
    """What a command prints, run with few steps on a store of its own."""
    words = [sys.executable, *shlex.split(line)[1:], "--store", str(folder / "store")]
    words += ["--set", "advanced.training.max_steps=20"]
    environment = {**os.environ, "PREFECT_HOME": str(prefect_home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("line", LOOKS)
def test_its_looks_print_what_it_shows(line, tmp_path):
    output = run(line, tmp_path)
    shown = re.search(rf"{re.escape(line)}.*?```\n(columns\n.*?)\n\.\.\.\n(.*?)```", README, re.DOTALL)
    assert shown and shown[1] in output
    assert "retrain      will work" in output and "forecast     will work" in output


@pytest.mark.slow
@pytest.mark.parametrize("line", RETRAIN)
def test_its_trainings_run(line, tmp_path, prefect_home):
    output = run(line, tmp_path, prefect_home)
    assert "report    " in output
    if "shop_sales.yaml" in line:
        assert [command.split()[2] for command in OTHERS] == ["flows.forecast", "flows.monitor", "flows.backtest"]
        for command in OTHERS:
            assert "shop_sales" in run(command, tmp_path, prefect_home), command
