"""Bundles of a stranger, who can seal what they like: refused in one clear sentence, or used by the contract.

What cannot be noticed: numbers within the limits (weights, widths, offsets, means) that are not those of a training.
"""

import copy
import hashlib
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save

from lstm_model.contracts.bundle_card import BundleError, BundleFacts, copy_bundle, read_bundle_card, read_record
from lstm_model.forecast.__main__ import main
from lstm_model.forecast.bundle import load_bundle

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "v1"
FUZZED = 100
MOST_SECONDS, MORE_MEMORY = 8.0, 1536 * 1024**2
"""CPU time and memory for one bundle."""


def read_golden():
    """The golden bundle's record without its seal, and its weights."""
    record = json.loads((GOLDEN / "bundle" / "bundle.json").read_text())
    del record["sha256"]
    return record, (GOLDEN / "bundle" / "model.safetensors").read_bytes()


def seal(folder, record, weights):
    """Write a bundle as its writer would, with the right digest of whatever it holds."""
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes(weights)
    if isinstance(record, dict):
        if "weights_sha256" in record:
            record = {**record, "weights_sha256": hashlib.sha256(weights).hexdigest()}
        digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
        record = {**record, "sha256": digest}
    (folder / "bundle.json").write_text(json.dumps(record))
    return folder


def put(record, path, value):
    """The record with another value at a path such as model.hidden_dim."""
    changed = copy.deepcopy(record)
    *parents, last = path.split(".")
    at = changed
    for name in parents:
        at = at[name]
    at[last] = value
    return changed


def nest(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("model.layer_dim", 10**7, r"model.layer_dim: .*less than or equal to 8, received 10000000"),
        ("model.hidden_dim", 60_000, r"model.hidden_dim: .*less than or equal to 4096, received 60000"),
        ("model.segment", 0, r"model.segment: .*greater than or equal to 1, received 0"),
        ("model.levels", [0.5] * 1000, r"model.levels: .*at most 20 items"),
        ("shape.context", 10**9, r"shape.context: "),
        ("shape.season", 0, r"shape.season: "),
        ("shape.past", 2, r"the scaler has 1 past covariates, the network has 2"),
        ("scaler.past", [[0.0, 0.0]], r"a deviation above 0"),
        ("widths", {"north": -1.0}, r"widths above 0"),
        ("widths", {"north": "1"}, r"a number for each series"),
        ("format", None, r"has format None, this version reads 1"),
        ("card", nest(400), r"card: "),
        ("unknown", 1, r"unknown: .*not permitted"),
        ("card.envelope.by_step", [1.0], r"card.envelope: expected an error of each step of the horizon"),
        ("card.envelope.error", -1.0, r"card.envelope.error: "),
        ("card.seen_through", {"train": 3, "refit": 4}, r"moments that fit the frequency D"),
        ("card.warm.parent", "../../x", r"card.warm.parent: "),
        ("card.covariates.past", ["promo"], r"covariates declared twice: promo"),
        ("card.covariates.past", [], r"names \(0, 1, 3\) past, future and static covariates"),
    ],
)
def test_a_record_beyond_the_limits_is_refused(tmp_path, path, value, said):
    record, weights = read_golden()
    folder = seal(tmp_path / "bundle", put(record, path, value), weights)
    with pytest.raises(BundleError, match=said) as caught:
        read_bundle_card(folder)
        load_bundle(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600 and "bundle.json" in str(caught.value)


@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, '{"sha256": NaN}', "3", "", "{}", "\xff", "1" * 5000])
def test_a_text_that_is_no_record_is_refused(tmp_path, text):
    folder = seal(tmp_path / "bundle", *read_golden())
    (folder / "bundle.json").write_text(text, encoding="latin-1")
    with pytest.raises(BundleError, match=r"cannot be read as a bundle's record: "):
        read_record(folder)


@pytest.mark.parametrize("key", ["format", "model", "shape", "scaler", "widths", "weights_sha256", "card"])
def test_a_sealed_record_that_lacks_a_key_is_refused(tmp_path, key):
    record, weights = read_golden()
    del record[key]
    with pytest.raises(BundleError, match=rf"bundle.json .*{key}"):
        read_record(seal(tmp_path / "bundle", record, weights))


def change_tensors(**changes):
    """The golden weights with some changed by a function, which removes those that it returns None for."""
    tensors = load_file(GOLDEN / "bundle" / "model.safetensors")
    for name, change in changes.items():
        tensors[name.replace("__", ".")] = change(tensors.get(name.replace("__", ".")))
    return save({name: tensor.contiguous() for name, tensor in tensors.items() if tensor is not None})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"conformal_offsets": lambda t: t[:, :1]}, r"'conformal_offsets' is \('F32', \[2, 1\]\), expected .*\[2, 5\]"),
        (
            {"conformal_offsets": lambda t: t.clone().fill_(torch.nan)},
            r"'conformal_offsets' has values that are not finite",
        ),
        ({"head__weight": lambda t: t.to(torch.int32)}, r"'head.weight' is \('I32', \[126, 4\]\)"),
        ({"head__weight": lambda t: t.double()}, r"'head.weight' is \('F64'"),
        ({"head__weight": lambda t: t.T.contiguous()}, r"'head.weight' is \('F32', \[4, 126\]\)"),
        ({"head__weight": lambda t: None}, r"lacks the tensors \['head.weight'\]"),
        ({"skip__bias": lambda t: t + torch.inf}, r"'skip.bias' has values that are not finite"),
        ({"another": lambda t: torch.ones(1)}, r"has \['another'\], which are none of it"),
        ({"past_scaler": lambda t: 2 * t}, r"two scalers of its past covariates, which differ"),
    ],
)
def test_tensors_that_no_such_network_has_are_refused(tmp_path, changes, said):
    record, _ = read_golden()
    with pytest.raises(BundleError, match=said):
        load_bundle(seal(tmp_path / "bundle", record, change_tensors(**changes)))


def test_a_bundle_without_calibration_has_no_widths(tmp_path):
    record, _ = read_golden()
    weights = change_tensors(conformal_offsets=lambda t: None)
    assert load_bundle(seal(tmp_path / "plain", {**record, "widths": {}}, weights)).calibration is None
    with pytest.raises(BundleError, match=r"widths .*without offsets"):
        load_bundle(seal(tmp_path / "bundle", record, weights))


@pytest.mark.parametrize("name", ["bundle.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_pipe_or_a_link_is_refused_at_once(tmp_path, name, kind):
    folder = seal(tmp_path / "bundle", *read_golden())
    outside = tmp_path / "outside"
    (folder / name).rename(outside)
    os.mkfifo(folder / name) if kind == "pipe" else (folder / name).symlink_to(outside)
    with pytest.raises(BundleError, match=rf"{name} is a link, a pipe or a folder"):
        load_bundle(folder)


def test_a_bundle_with_a_link_is_not_copied(tmp_path):
    folder = seal(tmp_path / "bundle", *read_golden())
    facts = BundleFacts.model_validate(read_bundle_card(folder).model_dump(include={*BundleFacts.model_fields}))
    (folder / "more").mkdir()
    (folder / "more" / "notes").symlink_to("/etc/hostname")
    with pytest.raises(BundleError, match="notes is a link"):
        copy_bundle(folder, tmp_path / "copy", facts)
    assert not (tmp_path / "copy").exists()


def test_a_copy_has_the_facts_and_no_other_key_more(tmp_path):
    record, weights = read_golden()
    added = {*BundleFacts.model_fields}
    facts = BundleFacts.model_validate({name: record["card"][name] for name in added})
    card = {name: value for name, value in record["card"].items() if name not in added and name != "warm"}
    folder = seal(tmp_path / "model", {**record, "card": card}, weights)
    copy_bundle(folder, tmp_path / "bundle", facts)
    assert read_record(tmp_path / "bundle").card.keys() == card.keys() | added


def test_categories_in_another_order_are_refused(tmp_path, capsys):
    record, weights = read_golden()
    folder = seal(
        tmp_path / "a", put(record, "card.covariates.static_categories", {"region": ["hills", "coast"]}), weights
    )
    assert main([str(folder), str(GOLDEN / "series.csv")]) == 2
    assert "names the columns of static covariates in another order" in capsys.readouterr().err
    folder = seal(tmp_path / "b", put(record, "card.covariates.categories", {"promo": ["tv"]}), weights)
    assert main([str(folder), str(GOLDEN / "series.csv")]) == 2
    assert "names the columns of future covariates in another order" in capsys.readouterr().err


def test_a_manifest_of_another_bundle_gives_no_version(tmp_path, capsys):
    folder = seal(tmp_path / "bundle", *read_golden())
    (folder / "manifest.json").write_text(json.dumps({"files": {"bundle.json": {"sha256": "0" * 64}}}))
    assert main([str(folder), str(GOLDEN / "series.csv")]) == 2
    assert "manifest.json is of another bundle than bundle.json" in capsys.readouterr().err


def write_tensors(count):
    """A safetensors file of many tensors; the library takes minutes to write it."""
    header = {f"t{k}": {"dtype": "F32", "shape": [1], "data_offsets": [4 * k, 4 * k + 4]} for k in range(count)}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(4 * count)


def write_huge(folder):
    """Bundles that ask for much time or memory."""
    record, weights = read_golden()
    seal(folder / "300,000 tensors", record, write_tensors(300_000))
    seal(folder / "10 million layers", put(record, "model.layer_dim", 10**7), weights)
    seal(folder / "a network of 57 GB", put(record, "model.hidden_dim", 60_000), weights)
    seal(folder / "the largest network", put(put(record, "model.hidden_dim", 4096), "model.layer_dim", 8), weights)
    seal(folder / "9 million values", record, weights)
    (folder / "9 million values" / "bundle.json").write_bytes(b"[" + b"0," * 9_000_000 + b"0]")
    wrong = dict.fromkeys(map(str, range(200_000)), "x")
    seal(folder / "200,000 errors", put(record, "card.seen_through_by_series", wrong), weights)


HIDDEN_FORMULAS = ["a\n=1", "a\r=1", "a\t=1", "\ufeff=1", "a;\ufeff=1", "\u22121+1", "\u200b=1"]
"""A formula in a later line or cell, after signs that nobody sees, or with another minus."""


@pytest.mark.parametrize(
    "name", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-a", "\t=1", "＝1", "a;=1", *HIDDEN_FORMULAS]
)
def test_a_name_that_a_spreadsheet_program_runs_is_not_written_as_csv(tmp_path, capsys, name):
    """A quote before it, as is usual, would be another name than that of the data it is joined with."""
    series = pd.read_csv(GOLDEN / "series.csv")
    series["shop"] = series["shop"].replace("east", name)
    series.to_parquet(tmp_path / "series.parquet")
    arguments = [str(GOLDEN / "bundle"), str(tmp_path / "series.parquet"), "--output"]
    assert main([*arguments, str(tmp_path / "next.csv")]) == 2
    assert "names that a spreadsheet program runs as formulas" in capsys.readouterr().err
    assert not (tmp_path / "next.csv").exists()
    assert main([*arguments, str(tmp_path / "next.parquet")]) == 0
    assert name.strip() in {one.strip() for one in pd.read_parquet(tmp_path / "next.parquet")["unique_id"]}


def test_a_name_that_is_a_number_is_written_as_csv(tmp_path):
    series = pd.read_csv(GOLDEN / "series.csv")
    series["shop"] = series["shop"].replace("east", "-5")
    series.to_csv(tmp_path / "series.csv", index=False)
    assert main([str(GOLDEN / "bundle"), str(tmp_path / "series.csv"), "--output", str(tmp_path / "next.csv")]) == 0
    assert "-5" in set(pd.read_csv(tmp_path / "next.csv", dtype=str)["unique_id"])


def walk(value, path=()):
    """Every place in a record."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from walk(inner, (*path, key))


ODD = [None, True, 0, 1, -1, 2**31, 2**63, 10**30, -0.5, 1e-320, 1e39, 1e300, "", "x", "nan", "\x1b[2J\n", "‮", "1", "D",
       "h", "us", "MS", "999999999D", "2999-01-01", "../../x", [], {}, [0], [[0.0, 1.0]], {"a": 1}, nest(50), nest(300),
       ["x"] * 1000]  # fmt: skip


def mutate_record(record, rng):
    """The record with one to three values replaced, removed, doubled or renamed."""
    changed = copy.deepcopy(record)
    for _ in range(rng.choice((1, 1, 2, 3))):
        path = rng.choice([path for path in walk(changed) if path])
        at = changed
        for key in path[:-1]:
            at = at[key]
        how, key = rng.random(), path[-1]
        if how < 0.2 and isinstance(at, dict):
            del at[key]
        elif how < 0.3 and isinstance(at, dict):
            at[rng.choice(["", "x", "card", "model", f"{key}s"])] = at.pop(key)
        elif how < 0.5 and isinstance(at[key], int | float):
            at[key] = at[key] * rng.choice((-1, 0, 2, 10, 0.5, 1e6))
        else:
            at[key] = copy.deepcopy(rng.choice(ODD))
    return changed


def mutate_weights(weights, rng):
    """The file with another header, or other bytes: flipped, cut, or more."""
    length = int.from_bytes(weights[:8], "little")
    header, data = json.loads(weights[8 : 8 + length]), bytearray(weights[8 + length :])
    how = rng.random()
    if how < 0.6:
        text = json.dumps(mutate_record(header, rng)).encode()
        return len(text).to_bytes(8, "little") + text + data
    changed = bytearray(weights)
    for _ in range(rng.choice((1, 4))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed[: rng.randrange(len(changed))] if how > 0.9 else changed)


LIMITED = """
import contextlib, io, json, resource, sys, time, traceback, warnings
from pathlib import Path
import pandas as pd
from lstm_model.forecast.__main__ import main
warnings.simplefilter("ignore")
folder, series = Path(sys.argv[1]), sys.argv[2]
main([str(Path(series).parent / "bundle"), series, "--output", str(folder / "golden.csv")])  # all imports
now = 1024 * int(Path("/proc/self/status").read_text().split("VmSize:")[1].split()[0])
resource.setrlimit(resource.RLIMIT_AS, (now + MORE, now + MORE))
found = {}
for bundle in sorted(path for path in folder.iterdir() if path.is_dir()):
    said, began, output = io.StringIO(), time.process_time(), bundle / "next.csv"
    with contextlib.redirect_stderr(said):
        try:
            code = main([str(bundle), series, "--output", str(output)])
        except BaseException:
            code = traceback.format_exc()
    found[bundle.name] = code, said.getvalue(), time.process_time() - began
print(json.dumps(found))
"""


def forecast_each(folder):
    """Run the command for each bundle in a folder, in one process whose memory is bounded: code, notes, CPU seconds."""
    script = LIMITED.replace("MORE", str(MORE_MEMORY))
    command = [sys.executable, "-c", script, folder, GOLDEN / "series.csv"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=500)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout)


def test_what_asks_for_much_time_or_memory_is_refused_with_little(tmp_path):
    write_huge(tmp_path)
    for name, (code, said, seconds) in forecast_each(tmp_path).items():
        assert code == 2, f"{name}: {code} {said}"
        assert said.startswith("error: ") and said.count("\n") == 1 and len(said) < 1000, name
        assert seconds < MOST_SECONDS, name


def test_a_mutated_and_sealed_bundle_is_refused_or_used_by_the_contract(tmp_path):
    """One that is used forecasts the same series and steps in order, with intervals that hold their median.

    Changed weights within the network's shapes cannot be told from trained ones.
    """
    rng, (record, weights) = random.Random(0), read_golden()
    for k in range(FUZZED):
        changed = rng.random() < 0.7
        other = mutate_record(record, rng) if changed else record, weights if changed else mutate_weights(weights, rng)
        seal(tmp_path / f"{k:04}", *other)
    golden, refused = None, 0
    for name, (code, said, seconds) in forecast_each(tmp_path).items():
        golden = pd.read_csv(tmp_path / "golden.csv") if golden is None else golden
        assert seconds < MOST_SECONDS, f"{name}: {said}"
        assert len(said) < 4000 and "\x1b" not in said and "Traceback" not in said, f"{name}: {said}"
        assert code in (0, 2), f"{name}: {code}"
        refused += code
        if code:
            assert re.search(r"^error: .*[a-z].", said, re.MULTILINE), f"{name}: {said}"
            continue
        table = pd.read_csv(tmp_path / name / "next.csv")
        bounds = table.filter(regex="^(lo|hi)_|^median")
        assert np.isfinite(bounds).all(axis=None), name
        assert table["unique_id"].unique().tolist() == golden["unique_id"].unique().tolist(), name
        for low in bounds.filter(regex="^lo_"):
            assert (table[low] <= table["median"]).all() and (table["median"] <= table[f"hi{low[2:]}"]).all(), name
    assert FUZZED < refused < 1.9 * FUZZED, "both ways are tried"


def test_a_pipe_is_no_table_of_series(tmp_path, capsys):
    os.mkfifo(tmp_path / "x.parquet")
    assert main([str(GOLDEN / "bundle"), str(tmp_path / "x.parquet")]) == 2
    assert "x.parquet" in capsys.readouterr().err
