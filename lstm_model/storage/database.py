"""Connect to databases, and keep passwords out of their errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, quote_plus

import sqlalchemy as sa

from lstm_model.contracts.findings import DataError
from lstm_model.contracts.redaction import redact, redact_address


@contextmanager
def connected(url: str, password: str | None, *, setting: str, create: bool = False) -> Iterator[sa.Connection]:
    """A connection, closed and rolled back at the end; the password goes to the driver only.

    Args:
        url: SQLAlchemy's, without its password.
        password: blotted out of every message.
        setting: what the config calls the URL, for messages.
        create: whether a SQLite file that is not there is made.

    Raises:
        ConnectionError: the server cannot be reached or went away, which time may heal.
        DataError: no access, or a statement that fails.
    """
    made = False
    try:
        whole = _with_password(url, password, setting=setting, create=create)
        engine = sa.create_engine(whole, poolclass=sa.pool.NullPool, hide_parameters=True)
        with engine.connect() as connection:
            made = True
            yield connection
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        # The chained driver error may carry the URL: only the blotted text leaves this function.
        text = _blot(str(getattr(error, "orig", None) or error).strip(), password)
        if isinstance(error, ImportError):
            text += "; install the driver of this database (for PostgreSQL: pip install 'psycopg[binary]')"
        lost = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError) and (
            not made or error.connection_invalidated
        )
        kind = ConnectionError if lost and "authentication" not in text else DataError
        raise kind(f"{setting} {_shown(url)}: {text}") from None


def _with_password(text: str, password: str | None, *, setting: str, create: bool) -> sa.URL:
    try:
        url = sa.engine.make_url(text)
    except (sa.exc.ArgumentError, ValueError):  # a ValueError: of the port
        raise DataError(
            f"{setting} {_shown(text)} is no SQLAlchemy URL; expected such as postgresql://user@host/database"
        ) from None
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if not create and url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
        file = Path(str(url.database).removeprefix("file:"))
        if not file.exists():  # SQLite would create an empty one
            raise DataError(f"{setting} names the SQLite file {file}, which does not exist")
    return url.set(password=password) if password else url


def _shown(url: str) -> str:
    return redact_address(url).split("?")[0]


def _blot(text: str, password: str | None) -> str:
    for form in {password, quote(password), quote_plus(password), quote(password, safe="")} if password else ():
        text = text.replace(str(form), "***")
    return redact(text)
