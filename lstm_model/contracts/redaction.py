"""Know what a secret looks like: what would be stored, logged or shown is checked and redacted here.

An address is read by its parts, as what opens it would: user and password, parameters, and what a parameter holds in
turn, such as an ODBC connection string. What `find_secret` finds is what `redact` removes: both read the same places.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote_plus

HIDDEN = "***"
STRONG_WORDS = frozenset((
    "password", "passwd", "pwd", "passphrase", "passcode", "passkey", "secret", "token", "signature",
    "credential", "credentials", "jwt", "bearer", "hmac", "webhook",
))  # fmt: skip
"""A parameter with one of these words in its name holds a secret."""
LAST_WORDS = frozenset(["pass", "pw", "sig", "sas", "auth", "authorization", "apikey"])
"""So does one whose name ends with one of these."""
KEYS = frozenset((
    "access", "account", "api", "app", "auth", "client", "functions",
    "master", "private", "secret", "shared", "signing", "subscription",
))  # fmt: skip
"""Before "key" they make a secret, unlike "partition" or "primary"."""
JOINED = re.compile(
    r"(password|passwd|passwort|kennwort|pwd|passphrase|passcode|(db|user|admin|my)pass|secret|token|signature|"
    r"(access|account|api|private|secret|master|signing|subscription|license)key)$"
)
"""The same where a name is written together, such as sslpassword."""
COLUMNS = frozenset(("key", "keys", "code"))
"""Secrets as parameters of an address, but names of columns in a query."""
BARE_USERS = frozenset(("http", "https", "ray", "ws", "wss", "s3", "s3a", "gs", "gcs", "git", "ftp", "ftps"))
"""A user without a password is a token in these schemes; in others, as in postgresql://reader@db, it is a name."""
GUESTS = frozenset(("anonymous", "ftp"))
"""Users whom a server of ftp lets in without a password."""
WEBHOOK = re.compile(r"[^/?#]*\b(hooks|webhook)\.[^/?#]*/|([^/?#]*/)+?(bot(?=\d+:)|(web)?hooks/|webhook(b2)?/)")
"""Up to the part of a web address that lets anybody write to a channel."""
TOKEN = re.compile(
    r"(?<![A-Za-z0-9])(gh[pousr]_[A-Za-z0-9]{18,}|github_pat_\w{20,}|glpat-[\w-]{18,}|(xox[abeprs]|xapp)-[\w-]{20,}|"
    r"hf_[A-Za-z0-9]{30,}|AIza[\w-]{35}|(AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])|ya29\.[\w-]{20,}|dapi[0-9a-f]{32}|"
    r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}|[prs]k_(live|test)_[A-Za-z0-9]{12,}|whsec_[A-Za-z0-9]{24,}|sk-(proj|ant)-[\w-]{20,}|"
    r"sk-[A-Za-z0-9]{32,}|npm_[A-Za-z0-9]{36}|pypi-Ag[\w-]{50,}|SG\.[\w-]{16,}\.[\w-]{16,}|pn[bu]_[A-Za-z0-9]{30,}|"
    r"(?i:bearer|basic) [\w.~+/-]{16,}=*)|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----.*",
    re.DOTALL,
)
"""The access tokens of well-known services, in their own lengths and letters: names of files may begin like them."""
SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,40})://")
PARAMETER = re.compile(r"(?P<name>[\w.%$\[\]-]{1,99})\s{0,9}=\s{0,9}(?P<value>\{[^}]*\}?|'[^']*'?|\"[^\"]*\"?|[^&;#]*)")
TEXT_URL = re.compile(
    r"(?P<quote>['\"])(?P<quoted>[\w+.-]{1,40}://.{0,4000}?)(?P=quote)|(?P<bare>[\w+.-]{1,40}(://|::)[^\s'\"<>]*[^\s'\"<>:,.;)])"
)
"""In quotes, or up to the next space."""
TEXT_PARAMETER = re.compile(r"(?P<name>[\w.-]{1,99})=(?P<value>'[^']*'?|\"[^\"]*\"?|[^\s&;,'\"]*[^\s&;,'\":.)])")
TEXT_PASSWORD = re.compile(
    r"((?<![\w.])\w*(password|passwd|pwd|passphrase|passcode|(api|access|secret|private)[_-]?key)\s{0,9}[=:]\s{1,9}"
    r"(?!Extra inputs)|\b(password|identified\s{1,9}by)\s{1,9}(?='))(?P<value>[^\s&;,'\":]+|'[^']*'?|\"[^\"]*\"?)",
    re.IGNORECASE,
)
"""With blanks, as libpq, a header or SQL has it; not the messages of pydantic about a setting."""
DEEPEST = 4


class Secret(NamedTuple):
    """A part of a text that nobody may see."""

    start: int
    end: int
    what: str
    """The words for it, such as "the parameter sig"."""


def find_secret(address: str) -> str | None:
    """Return what of an address is a secret, in words such as "a password"; None if nothing is."""
    return next((secret.what for secret in _search_address(address)), None)


def find_secret_in_text(text: str) -> str | None:
    """Return what of a free text is a secret, such as the password of a URL in a query; None if nothing is."""
    return next((secret.what for secret in _search_text(text)), None)


def redact_address(address: str) -> str:
    """Return a setting that is an address as a whole with its secrets hidden."""
    return _hide(address, _search_address(address))


def redact(text: str) -> str:
    """Return a text, such as the error of a library, with the secrets of every address in it hidden."""
    return _hide(text, _search_text(text))


def is_secret_name(name: str) -> bool:
    """Tell whether a parameter, or a setting, of this name holds a secret."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", _decode(name))]
    if not words or words[-1] in ("file", "path", "type"):  # of the place or the kind of a secret
        return False
    if words[-1] in ("key", "keys"):
        return len(words) == 1 or not KEYS.isdisjoint(words)
    if words[-1] == "code":
        return len(words) == 1 or words[-2] in ("auth", "authorization", "access")
    return not STRONG_WORDS.isdisjoint(words) or words[-1] in LAST_WORDS or bool(JOINED.search("".join(words)))


def _search_address(address: str, *, depth: int = 0) -> Iterator[Secret]:
    schemes, last_at = list(SCHEME.finditer(address)), address.rfind("@")
    for number, match in enumerate(schemes):
        # In a chain such as zip://a.csv::https://host/b.zip each link is an address of its own.
        later = schemes[number + 1].start() if number + 1 < len(schemes) else 0
        end = later - 2 if later and address[later - 2 : later] == "::" else len(address)
        scheme = match["scheme"].split("+")[0].lower()
        begin = min(end, match.end() + 500)
        if scheme in ("http", "https") and (webhook := WEBHOOK.match(address, match.end(), begin)):
            yield Secret(webhook.end(), end, "the address of a webhook")
        if match.end() < last_at and (user := _find_user(address, match.end(), end, scheme)):
            yield user
            if user.end == last_at:
                break
    if not schemes and not depth and (pair := re.match(r"(?![A-Za-z]:[\\/])[^:/\\]+:(.+)@", address, re.DOTALL)):
        yield Secret(*pair.span(1), "a password")
    is_web = any(match["scheme"].startswith("http") for match in schemes)
    for match in PARAMETER.finditer(address):
        if not is_web and _is_partition(address, match):
            continue
        if match["value"] and _is_secret(match["name"], match["value"], depth):
            yield Secret(*match.span("value"), f"the parameter {_decode(match['name'])}")
    yield from (Secret(*match.span(), "an access token") for match in TOKEN.finditer(address))


def _is_partition(text: str, parameter: re.Match[str]) -> bool:
    """Return whether a parameter is a folder of a partitioned table, such as /key=5/."""
    return text[: parameter.start()].endswith("/") and "/" in parameter["value"]


def _find_user(address: str, start: int, end: int, scheme: str) -> Secret | None:
    """Find the secret before the host, read as generously as SQLAlchemy does: a password may hold /, ?, # and @."""
    if pair := re.compile(r"[^:/]*:(.+)@", re.DOTALL).match(address, start, end):
        return Secret(*pair.span(1), "a password (an @ that ends none is written %40)")
    user = re.compile(r"([^/?#]+)@").match(address, start, end) if scheme in BARE_USERS else None
    return Secret(*user.span(1), "a token before the host") if user and user[1] not in GUESTS else None


def _is_secret(name: str, value: str, depth: int) -> bool:
    if is_secret_name(name):
        return value != HIDDEN
    inner = _decode(value)
    return depth < DEEPEST and next(_search_address(inner, depth=depth + 1), None) is not None


def _search_text(text: str) -> Iterator[Secret]:
    for url in TEXT_URL.finditer(text):
        start, end = url.span("quoted" if url["quoted"] else "bare")
        for secret in _search_address(text[start:end]):
            yield Secret(start + secret.start, start + secret.end, secret.what)
    for match in TEXT_PARAMETER.finditer(text):
        if _is_partition(text, match) or _is_comparison(**match.groupdict()):
            continue
        if _is_secret(match["name"], match["value"], DEEPEST - 1 if "%" in match["value"] else DEEPEST):
            yield Secret(*match.span("value"), f"the parameter {match['name']}")
    found = (match for match in TEXT_PASSWORD.finditer(text) if match["value"] != HIDDEN)
    yield from (Secret(*match.span("value"), "a password") for match in found)
    yield from (Secret(*match.span(), "an access token") for match in TOKEN.finditer(text))


def _is_comparison(name: str, value: str) -> bool:
    """Tell whether a query compares columns, as in a.client_key=b.client_key, or one with a number."""
    column = name.rpartition(".")[2].lower()
    numbered = column.endswith("key") and value.isdecimal()
    return column in COLUMNS or column == value.rpartition(".")[2].lower() or numbered


def _hide(text: str, secrets: Iterator[Secret]) -> str:
    kept, position = [], 0
    for secret in sorted(secrets):
        if secret.end > position:
            kept += [text[position : max(position, secret.start)], HIDDEN * (secret.start >= position)]
            position = secret.end
    return "".join([*kept, text[position:]])


def _decode(text: str) -> str:
    """Undo percent-encoding, also where it was done several times."""
    for _ in range(DEEPEST):
        if (decoded := unquote_plus(text)) == text:
            break
        text = decoded
    return text
