"""Join two rows that name columns only together: years over months, places over what is measured there."""

from __future__ import annotations

import re
from collections.abc import Sequence

YEAR, MONTH, NUMBER = re.compile(r"(?:19|20)\d{2}"), re.compile(r"0?[1-9]|1[0-2]"), re.compile(r"[-+\d.,]+")


def join_header_rows(tops: Sequence[str], bottoms: Sequence[str]) -> list[str] | None:
    """Return one name a column, if neither row names all columns itself; a merged cell stands in its first column only.

    Args:
        tops: the cells above, each valid until the next one that is filled.
        bottoms: as many cells below.
    """
    groups = [cell for cell in tops[1:] if cell]
    if not groups or _names_all(tops) or all(top for top, bottom in zip(tops[1:], bottoms[1:], strict=True) if bottom):
        return None
    are_years = all(map(YEAR.fullmatch, groups))
    numbers = [cell for cell in bottoms[1:] if NUMBER.fullmatch(cell)]
    if (_names_all(bottoms) and not are_years) or (numbers and not (are_years and all(map(MONTH.fullmatch, numbers)))):
        return None
    names, group = [], ""
    for k, (top, bottom) in enumerate(zip(tops, bottoms, strict=True)):
        group = top or group
        names.append(_join(group, bottom, are_years=are_years) if k and bottom else bottom or top)
    return names if _names_all(names) else None


def _names_all(names: Sequence[str]) -> bool:
    """Return whether all columns but the first have a name of their own."""
    return all(names[1:]) and len({*names}) == len(names)


def _join(group: str, name: str, *, are_years: bool) -> str:
    if are_years and group:
        return f"{group}-{int(name):02}" if name.isdigit() else f"{name} {group}"
    return f"{group} {name}".strip()
