"""Settings that are no settings: each is one clear sentence, soon, whatever the file holds."""

import os
import random
import time
from pathlib import Path

import pytest

from lstm_model.contracts.settings_file import (
    SettingsError,
    derive_name,
    dump_config,
    load_config,
    make_config,
    parse_yaml,
)

PIPELINES = sorted((Path(__file__).parents[3] / "deployments" / "pipelines").glob("*.yaml"))
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_a_pipe_is_no_settings_file(tmp_path):
    os.mkfifo(tmp_path / "a.yaml")
    with pytest.raises(SettingsError, match=r"a\.yaml: is no regular file"):
        load_config(tmp_path / "a.yaml")


def write(folder, content):
    path = folder / "sales.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected a mapping of settings, such as horizon: 24, received an empty file"),
        (b"\xef\xbb\xbf", "received an empty file"),
        ("# only a comment", "received an empty file"),
        ("- a\n- b", "received a list of 2"),
        ("hello", "received 'hello'"),
        ("postgresql://me:hunter2@db", "received 'postgresql://me:***@db'"),
        ("horizon: 1\nseason: \tx: y", "line 2: "),
        ("source:\n\tkind: files", "line 2: found character '\\t' that cannot start any token; indent with spaces"),
        ("horizon: 1\nhorizon: 2", "line 2: horizon is given a second time, after line 1; remove one"),
        ("source:\n  seed: 1\n  seed: 1", "line 3: seed is given a second time, after line 2"),
        ("horizon: 1\n5: 2", "line 2: a key is '5', which YAML does not read as text"),
        ("no: 2", "line 1: a key is 'no', which YAML does not read as text"),
        ("? [a, b]\n: 1", "line 1: a key is a list or a section"),
        (b"name: a\nhorizon: 2 # \xfc", "line 2: the byte 0xFC is not UTF-8; save the file as UTF-8"),
        ("name: a".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        (b"name: a\nhorizon: \x00", "line 2: the character U+0000 is not allowed"),
        ("a: 1\n---\nb: 2", "line 2: "),
        ("a: *nowhere", "line 1: found undefined alias 'nowhere'"),
        ("a: &a [*a]", "line 1: the alias *a stands for a section that it is in"),
        (BOMB, "more than 5,000 keys and values, aliases included"),
        ("horizon: " + "[" * 100_000, "line 1: nested more than 12 deep"),
        ("horizon: " + "{a: " * 50_000, "line 1: nested more than 12 deep"),
        ("horizon: !!python/object/apply:os.system [ls]", "line 1: the tag "),
        ("horizon: !!timestamp x", "line 1: the tag "),
        ("x" * 300_000, "is larger than 262,144 bytes"),
        ("horizon: " + "9" * 5000, "horizon: "),
        ("horizon: 1e30", "horizon: Input should be"),
        ("horizon: 1:30", "horizon: Input should be a valid integer, unable to parse string as an integer"),
        ("horizon: yes", "horizon: true is no value for it"),
        ("scaling: {ray_address: 'head:x'}", "scaling.ray_address: expected local, auto, host:port or"),
        ("source: {kind: sql, query: select 1, url: 'postgresql://db:54x2/shop'}", "source: after the host's colon"),
        ("schedule: {interval_seconds: 1e300}", "schedule.interval_seconds: Input should be less than or equal to"),
        ("frequency: " + "9" * 50 + "D", "frequency: String should have at most 40 characters"),
        (
            "source: {kind: synthetic, layout: long, decimal: ','}",
            "source kind synthetic makes its own series: remove decimal, layout",
        ),
        ("source: {kind: files, path: a.csv, url: 'sqlite://'}", "source kind files reads files: remove url"),
        ("notify: https://hooks.slack.com/services/T0/B0/hunter2", "notify: contains the address of a webhook"),
        ("forecasting: {password_from: hunter2}", "forecasting.password_from: expected env:NAME"),
        ("hunter2://me:hunter2@x: 1", "Extra inputs are not permitted"),
        ("pasword: hunter2@", "pasword: Extra inputs are not permitted"),
        ("source: {pasword: [hunter2@]}", "source.pasword: Extra inputs are not permitted"),
        ("source: {pasword: {a: hunter2@}}", "source.pasword: Extra inputs are not permitted"),
        ("covariates: {past: [wind, 'postgresql://me:hunter2@db']}", "covariates.past: contains a password"),
        ("covariates: {static: [ghp_" + "hunter2" * 4 + "]}", "covariates.static: contains an access token"),
        ("source: {columns: {y: 'https://me:hunter2@db'}}", "source.columns.y: contains a password"),
        ("{" + ", ".join(f"k{i}: 1" for i in range(2000)) + "}", "and 1991 more problems"),
        ("? " + "k" * 100_000 + "\n: 1", "Extra inputs are not permitted"),
    ],
)
def test_what_is_wrong_is_one_short_paragraph_with_its_place(tmp_path, content, message):
    path, began = write(tmp_path, content), time.process_time()
    with pytest.raises(SettingsError) as error:
        load_config(path)
    shown = str(error.value).replace("source: source.kind", "source kind")
    assert shown.startswith(f"{path}: ") and message in shown
    assert len(shown) < 3000 and "hunter2@" not in shown and "B0/hunter2" not in shown and "hunter2hunter2" not in shown
    assert time.process_time() - began < 5


def numbers(section, path=()):
    """The dotted path of every number of the settings."""
    for name, field in section.model_fields.items():
        inner = [
            k for k in (field.annotation, *getattr(field.annotation, "__args__", ())) if hasattr(k, "model_fields")
        ]
        if inner:
            yield from numbers(inner[0], (*path, name))
        elif "int" in str(field.annotation) or "float" in str(field.annotation):
            yield (*path, name)


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "1e400", "-1e400", "1e300", "9" * 30, "-1", "true"])
def test_every_number_has_limits(value):
    from lstm_model.contracts.settings import PipelineConfig

    places = [*numbers(PipelineConfig)]
    assert len(places) > 35
    for place in places:
        if place == ("advanced", "model", "levels"):
            continue
        document = parse_yaml(value)
        for name in reversed(place):
            document = {name: document}
        with pytest.raises(SettingsError, match=place[-1]):
            make_config({"source": {"kind": "synthetic"}} | document)


def test_good_files_are_read_as_before(tmp_path):
    made = "source: {kind: synthetic}\n"
    shared = "schedule: &daily {interval_seconds: 86400}\nforecasting: {schedule: *daily}\n"
    config = load_config(write(tmp_path, b"\xef\xbb\xbf" + (made + shared).encode()))
    assert config.name == "sales" and config.forecasting.schedule.interval_seconds == 86400
    merged = "advanced: {training: {<<: {seed: 3}, patience: 2}}\nfrequency: 1\nhorizon: 010\n"
    config = load_config(write(tmp_path, made + merged))
    assert (config.advanced.training.seed, config.frequency, config.horizon) == (3, "1", 10)
    for file in PIPELINES:
        config = load_config(file)
        assert make_config(parse_yaml(dump_config(config))) == config


PIECES = [
    ".inf", ".nan", "1e400", "-1", "0", "null", "true", "[]", "{}", "[[[[", "*a", "&a ", "!!binary x", "\t", "\x00",
    "é", "\ufeff", "'", '"', ": ", "- ", "? ", "# ", "<<: *a", "999999999D", "9" * 400, "x" * 3000, "---\n", "%Y 9\n",
    "postgresql://u:hunter2@h/d", "files", "sql", "|\n", ">\n", "@", "`", ",", "}", "]", "2024-13-45", "1:30", "\r",
]  # fmt: skip


def test_mutated_pipelines_are_settings_or_one_settings_error(tmp_path):
    """Seeded, and bounded by time; another exception, a long one or a slow one fails."""
    texts, chance = [file.read_text() for file in PIPELINES], random.Random(15)
    deadline, refused, good = time.monotonic() + 3, 0, 0
    while time.monotonic() < deadline or refused < 20:
        text = chance.choice(texts)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(text) + 1)
            until = min(len(text), at + chance.choice([0, 0, 1, 5, 30]))
            text = text[:at] + chance.choice([*PIECES, text[at : at + 40]]) + text[until:]
        content = bytearray(text.encode())
        if chance.random() < 0.2:
            content[chance.randrange(len(content))] = chance.randrange(256)
        began = time.process_time()
        try:
            load_config(write(tmp_path, bytes(content)))
            good += 1
        except SettingsError as error:
            refused += 1
            assert len(str(error)) < 4000 and "hunter2@" not in str(error), content
        assert time.process_time() - began < 2, content
    assert good


def test_every_flipped_bit_of_a_file_that_a_run_wrote_is_told_or_changes_nothing(tmp_path):
    config = make_config({"name": "shop", "horizon": 24, "source": {"kind": "files", "path": "/data/sales.csv"}})
    whole = dump_config(config).encode()
    path = write(tmp_path, whole)
    assert load_config(path) == config
    for at in range(len(whole)):
        for bit in range(8):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
            try:
                assert load_config(path) == config and at < whole.index(b"\n"), (at, bit)
            except SettingsError as error:
                assert str(error).startswith(f"{path}: "), (at, bit)
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(SettingsError):
            load_config(path)


def test_a_person_edits_a_file_that_a_run_wrote_by_deleting_its_first_line(tmp_path):
    whole = dump_config(make_config({"name": "shop", "horizon": 24, "source": {"path": "/sales.csv"}}))
    first, _, settings = whole.partition("\n")
    assert first.endswith("of the lines below; to edit them, delete this line")
    edited = settings.replace("horizon: 24", "horizon: 48")
    described = f"# Sales of the shop\n{first}\n{edited}".encode()
    with pytest.raises(SettingsError, match=r"line 2 is a checksum .* If you have edited them, delete line 2; if not"):
        load_config(write(tmp_path, described))
    assert load_config(write(tmp_path, edited.encode())).horizon == 48
    for unchanged in (f"# Sales of the shop\n{whole}", f"\ufeff{whole}", whole.replace("\n", "\r\n")):
        assert load_config(write(tmp_path, unchanged.encode())).horizon == 24


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ({"path": "sales.csv"}, "files"),
        ({"url": "sqlite:///shop.db", "query": "select 1"}, "sql"),
        ({"kind": "synthetic"}, "synthetic"),
    ],
)
def test_a_plain_source_needs_no_kind(source, kind):
    config = make_config({"source": source})
    assert config.source.kind == kind
    assert make_config(config.model_dump(mode="json", exclude_defaults=True)) == config


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "source: is missing; say where the series come from: a path"),
        ({"name": "sales", "horizon": 14}, "source: is missing"),
        ({"source": {}}, "source: it has neither a path nor a query; say where"),
        ({"source": {"columns": {"y": "sold"}, "dataset": "sine"}}, "source: it has neither a path nor a query"),
        ({"source": None}, "source: Input should be"),
        ({"source": {"url": "sqlite:///shop.db"}}, "source.url or source.query is empty"),
        ({"source": {"path": "a.csv", "query": "select 1"}}, "reads files: remove query"),
    ],
)
def test_settings_without_a_source_are_never_the_built_in_panel(document, message):
    with pytest.raises(SettingsError, match=message):
        make_config(document)


def test_the_name_of_a_file_names_the_problem():
    assert derive_name("data/Sales 2024.csv") == "sales_2024"
    assert derive_name("s3://bucket/load.parquet") == "load"
    assert derive_name("meters/*.csv") == "meters"
    assert derive_name("*.csv") == "data"


def test_names_in_any_script_make_names_of_their_own():
    names = ["продажи", "расходы", "売上", "需要", "مبيعات", "Müller", "Muller", "Mäller", "ß", "é", "a" * 70, "a" * 80]
    made = [derive_name(f"/data/{name}.csv") for name in names]
    assert len(set(made)) == len(names)
    assert all(make_config({"source": {"path": "x.csv"}, "name": name}).name == name for name in made)
    assert derive_name("Mu\u0308ller.csv") == derive_name("M\u00fcller.csv") != "muller", "two spellings of one name"
