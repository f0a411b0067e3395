"""Hash the code that a stage runs: its module and every module of this project that it imports, however deep.

Prefect's own `TASK_SOURCE` hashes the text of the task alone, so that a mended helper would still serve the results of
the broken one. Here the closure is found by reading import statements, without running anything, and what is hashed is
the syntax tree: comments and layout may change freely.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("tasks", "lstm_model")
PARSE_ATTEMPTS = 10


@cache
def closure_hash(module: str) -> str:
    """Hex sha256 over the module and all that it imports from `PACKAGES`."""
    digest = hashlib.sha256()
    for name in sorted(module_closure(module)):
        path = _source(name)
        assert path is not None, name
        digest.update(f"{name}\0{_read(path).fingerprint}\0".encode())
    return digest.hexdigest()


def module_closure(module: str) -> frozenset[str]:
    """Names of the module and of every module of `PACKAGES` that it reaches by imports."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _source(name)
        if path is not None and name not in found:
            found.add(name)
            waiting.extend(_read(path).imports)
    return frozenset(found)


@dataclass(frozen=True)
class _Source:
    """What is read of a file, once in a process: stages share most of their modules."""

    imports: frozenset[str]
    fingerprint: str


@cache
def _read(path: Path) -> _Source:
    text = path.read_text(encoding="utf-8")
    tree = _parse(text)
    return _Source(_imports(tree), _fingerprint(path, text, tree))


def _parse(text: str) -> ast.Module:
    """Parse it, again where Python before 3.11.8 and 3.12.1 takes the depth of another thread's tree for this one's.

    It then raises a SystemError by mistake (python/cpython#106905), which ended a flow now and then.
    """
    for _ in range(PARSE_ATTEMPTS - 1):
        try:
            return ast.parse(text)
        except SystemError:
            continue
    return ast.parse(text)


def _imports(tree: ast.Module) -> frozenset[str]:
    """Modules of `PACKAGES` that a file imports, at the top or inside a function."""
    names: set[str] = set()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(name for name in names if name.split(".")[0] in PACKAGES)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Every statement, however deep; expressions, which are most of a tree, hold none."""
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        for inner in getattr(node, field, ()):
            yield inner
            yield from _statements(inner)


@cache
def _source(name: str) -> Path | None:
    """The file of a module, found without importing anything; None where the name is no module."""
    top, *rest = name.split(".")
    spec = find_spec(top)
    assert spec is not None and spec.origin is not None, name
    base = Path(spec.origin).parent.joinpath(*rest)
    candidates = (base / "__init__.py", base.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


def _fingerprint(path: Path, text: str, tree: ast.Module) -> str:
    """Of the syntax tree, and of the templates in a folder beside the module that its text names."""
    parts = [ast.dump(tree)]
    parts += [t.read_text(encoding="utf-8") for t in sorted(path.parent.glob("templates/*")) if t.name in text]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
