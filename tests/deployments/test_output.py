"""While the server is away, only what `serve` says itself is seen; the rest is in a file."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import os, sys
from pathlib import Path
from deployments.output import Output

output = Output(Path(sys.argv[1]))
print("before")
with output.divert():
    print("hidden")
    os.system("echo of a run; echo error >&2")
    output.say("the server is away")
print("after")
"""


def run(log):
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", SCRIPT, log], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def test_what_is_diverted_is_in_the_file_and_what_is_said_is_seen(tmp_path):
    assert run(tmp_path / "log") == ("before\nthe server is away\nafter\n", "")
    assert sorted((tmp_path / "log").read_text().splitlines()) == ["error", "hidden", "of a run"]
    run(tmp_path / "log")
    assert (tmp_path / "log").read_text().count("hidden") == 2  # an outage does not take away what is known of another


def test_without_a_place_for_the_file_all_is_seen(tmp_path):
    output, errors = run(tmp_path / "missing" / "log")
    assert sorted(output.splitlines()) == sorted(["before", "hidden", "of a run", "the server is away", "after"])
    assert errors == "error\n"
