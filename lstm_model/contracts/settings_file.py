"""Read and write the settings of a pipeline as YAML, and say in one sentence each what is wrong with them.

Nothing in such a file is believed before it is bounded: its size, its depth, what its aliases stand for, and what of
it a message shows. YAML's old readings of a number (010 is 8, 1:30 is 90) and of a date do not count here.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from lstm_model.contracts.redaction import is_secret_name, redact, redact_address
from lstm_model.contracts.settings import SOURCES, PipelineConfig

MOST_BYTES = 1 << 18
DEEPEST = 12
"""Sections within sections; the settings have four."""
MOST_NODES = 5_000
"""Keys and values, those that aliases repeat counted each time."""
LONGEST_NAME = 62
MOST_PROBLEMS = 10
CHECKSUM = "# sha256:"
"""Begins the line by which damage is noticed in the lines below it; a file that a person wrote has none."""
LONGEST_SHOWN = 100
"""Characters of a value, or of a key, that a message shows, once its secrets are hidden."""


EXPECTED = {
    "name": "expected small letters, digits, - and _, at most 63, with a letter or a digit first",
    "password_from": "expected env:NAME (environment) or secret:NAME (a Prefect Secret block)",
    "notify": "expected a Prefect notification block as type/name, such as slack-webhook/alerts",
    "ray_address": "expected local, auto, host:port or ray://host:port",
    "table": "expected the name of a table, such as forecasts or shop.forecasts",
}
"""In words, for settings that have a pattern."""


class SettingsError(ValueError):
    """The settings cannot be used; the message names the file, the line or the setting, and what was expected."""


class _Loader(yaml.SafeLoader):
    """Reads plain values only: text, whole numbers without a base, numbers, true and false, nothing."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in ("bool", "null", "merge")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9][0-9_]{0,30})$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"[-+]?((0|[1-9][0-9]{0,30})\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,4})?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN)$"
    ),
    list("-+0123456789."),
)


def load_config(path: Path, **defaults: Any) -> PipelineConfig:
    """Read one pipeline's YAML; relative paths are relative to its folder, and its own name is the default.

    Args:
        path: of the file.
        defaults: settings for what the file leaves out.

    Raises:
        SettingsError: it is no YAML mapping, or a value does not fit; the message names the file and what is wrong.
    """
    if path.exists() and not path.is_file():
        raise SettingsError(f"{path}: is no regular file; expected a YAML file")
    with path.open("rb") as file:
        return parse_config(file.read(MOST_BYTES + 1), str(path), path.parent, **defaults)


def parse_config(content: bytes, place: str, folder: Path, **defaults: Any) -> PipelineConfig:
    """Read the content of such a file, whose path or URL is `place`; relative paths are relative to `folder`.

    `defaults` are settings for what it leaves out.

    Raises:
        SettingsError: see `load_config`; or the content has a checksum and is not what was written.
    """
    try:
        _check_lines(content)
        document = parse_yaml(content)
        if not isinstance(document, dict):
            shown = "an empty file" if document is None else _describe(document)
            raise SettingsError(f"expected a mapping of settings, such as horizon: 24, received {shown}")
        return anchor_path(make_config({"name": derive_name(place), **defaults, **document}), folder)
    except SettingsError as error:
        raise SettingsError(f"{place}: {error}") from None


def make_config(document: Mapping[str, Any]) -> PipelineConfig:
    """Return the config of a document.

    Raises:
        SettingsError: a value does not fit; the message names the setting.
    """
    try:
        return PipelineConfig.model_validate(document)
    except ValidationError as error:
        raise SettingsError("\n       ".join(list_problems(error))) from None


def parse_yaml(content: bytes | str) -> Any:
    """Return what a YAML text says.

    Raises:
        SettingsError: it is no YAML, or more than settings ever are; the message names the line.
    """
    if len(content) > MOST_BYTES:
        raise SettingsError(f"it is larger than {MOST_BYTES:,} bytes, which no settings are")
    text = _decode(content) if isinstance(content, bytes) else content
    try:
        _check_extent(text)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                _check_keys(node)
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        hint = "; indent with spaces" if "\\t" in str(error.problem) else ""
        raise SettingsError(
            f"it is not YAML, {_name_line(mark)}{_cut(redact(str(error.problem or error.context)))}{hint}"
        ) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SettingsError(f"line {line}: the character U+{int(error.character):04X} is not allowed") from None


def list_problems(error: ValidationError) -> list[str]:
    """Return one sentence for each setting that does not fit, with what was received where that is no secret."""
    problems = error.errors(include_url=False, include_context=False)
    more = len(problems) - MOST_PROBLEMS
    return [*map(_explain, problems[:MOST_PROBLEMS]), *([f"and {more} more problems"] if more > 0 else [])]


def _explain(problem: Mapping[str, Any]) -> str:
    """Return a problem of one field; our own messages say themselves what may be shown."""
    place, received = [_cut(redact_address(str(part))) for part in problem["loc"]], problem["input"]
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "missing" and place == ["source"]:
        message = f"is missing; {SOURCES}"
    elif problem["type"] == "string_pattern_mismatch":
        message = EXPECTED.get(str(problem["loc"][-1]), message)
    own, hidden = problem["type"] == "value_error", any(map(is_secret_name, map(str, problem["loc"])))
    hidden |= problem["type"] == "extra_forbidden"  # it may be a misspelt "password"
    whole = isinstance(received, Mapping)
    shown = "" if own or whole or hidden or problem["loc"][-1:] == ("notify",) else f" (received {_describe(received)})"
    return _cut(f"{'.'.join(place)}: ", 300) + redact(message) + shown


def _describe(value: Any) -> str:
    """Return a value for a message: redacted as a whole, then cut; of a list or a section only how long it is."""
    if isinstance(value, list | tuple | dict):
        kind = "a section of" if isinstance(value, dict) else "a list of"
        return f"{kind} {len(value):,}"
    return _cut(repr(redact_address(value) if isinstance(value, str) else value))


def _cut(text: str, longest: int = LONGEST_SHOWN) -> str:
    shown = "".join(c if c.isprintable() else " " for c in text[: longest + 1])
    return shown if len(text) <= longest else f"{shown[:longest]}…"


def _decode(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise SettingsError("it is UTF-16 text; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(
            f"line {line}: the byte 0x{content[error.start]:02X} is not UTF-8; save the file as UTF-8"
        ) from None


def _name_line(mark: Any) -> str:
    return "" if mark is None else f"line {mark.line + 1}: "


def _check_extent(text: str) -> None:
    """Bound depth and size before anything is built: of aliases, what they stand for counts each time."""
    depth, nodes = 0, 0
    sizes: dict[str, int] = {}
    open_anchors: list[tuple[str, int]] = []
    for event in yaml.parse(text, Loader=_Loader):
        line, anchor = _name_line(event.start_mark), str(getattr(event, "anchor", None) or "")
        if isinstance(event, yaml.AliasEvent):
            if anchor in [name for name, _ in open_anchors]:
                raise SettingsError(f"{line}the alias *{_cut(anchor)} stands for a section that it is in")
            nodes += sizes.get(anchor, 1)
        elif isinstance(event, yaml.NodeEvent):
            nodes += 1
            tag = str(getattr(event, "tag", None) or "")
            if tag and tag not in ("!", "tag:yaml.org,2002:str"):
                raise SettingsError(f"{line}the tag {_cut(tag)!r} is not used in settings; write the value alone")
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                open_anchors.append((anchor, nodes))
            elif anchor:
                sizes[anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            name, before = open_anchors.pop()
            if name:
                sizes[name] = nodes - before + 1
        if depth > DEEPEST:
            raise SettingsError(f"{line}nested more than {DEEPEST} deep; settings have four levels")
        if nodes > MOST_NODES:
            raise SettingsError(f"{line}more than {MOST_NODES:,} keys and values, aliases included")


def _check_keys(node: yaml.Node) -> None:
    """Refuse a key that is given twice, or that is no text: YAML itself would take the last one."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item)
    if not isinstance(node, yaml.MappingNode):
        return
    first: dict[str, int] = {}
    for key, value in node.value:
        line = _name_line(key.start_mark)
        if key.tag == "tag:yaml.org,2002:merge":
            continue
        if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
            said = repr(_cut(redact_address(key.value))) if isinstance(key, yaml.ScalarNode) else "a list or a section"
            raise SettingsError(f"{line}a key is {said}, which YAML does not read as text; expected a setting's name")
        if key.value in first:
            shown = _cut(redact_address(key.value))
            raise SettingsError(f"{line}{shown} is given a second time, after line {first[key.value]}; remove one")
        first[key.value] = key.start_mark.line + 1
        _check_keys(value)


def derive_name(path: str) -> str:
    """Return a pipeline name made of a file's name: Sales 2024.csv gives sales_2024.

    A name in another script, or one that is too long, ends with a part of its hash, so that no two become one; a glob
    without letters is named by its folder.
    """
    folder, _, file = path.rstrip("/").rpartition("/")
    stem = unicodedata.normalize("NFC", file.split(".")[0].lower())
    if folder and not any(map(str.isalnum, stem)):
        return derive_name(folder)
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    name = re.sub("[^a-z0-9]", "_", plain).strip("_")
    if stem.isascii() and len(name) <= LONGEST_NAME:
        return name or "data"
    return f"{name[: LONGEST_NAME - 9].strip('_') or 'data'}_{hashlib.sha256(stem.encode()).hexdigest()[:8]}"


def anchor_path(config: PipelineConfig, folder: Path) -> PipelineConfig:
    """Make a relative source path absolute: it is meant relative to `folder`, wherever the flow runs."""
    path = config.source.path
    if path is None or "://" in path or Path(path).is_absolute():
        return config
    source = config.source.model_copy(update={"path": str((folder / path).resolve())})
    return config.model_copy(update={"source": source})


def dump_config(config: PipelineConfig) -> str:
    """Return the config as YAML with a checksum that `load_config` reads back, with every setting that has a value."""
    document = config.model_dump(mode="json", exclude_none=True)
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
    return f"{CHECKSUM}{_hash(text.encode())} of the lines below; to edit them, delete this line\n{text}"


def _check_lines(content: bytes) -> None:
    """Check the lines below a checksum, if there is one; an editor may have changed how lines end."""
    content = content.replace(b"\r\n", b"\n")
    found = re.search(rb"^(?:\xef\xbb\xbf)?" + CHECKSUM.encode() + rb"([^\n]*)\n?", content, re.MULTILINE)
    if found is not None and not found[1].startswith(_hash(content[found.end() :]).encode()):
        number = content.count(b"\n", 0, found.start()) + 1
        raise SettingsError(
            f"line {number} is a checksum that does not fit the lines below it. If you have edited them, delete line "
            f"{number}; if not, the file is damaged: restore it, or run with the file that you wrote yourself"
        )


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
