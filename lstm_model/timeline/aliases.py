"""Compare the texts that name frequencies, without the calendars behind them, whose import takes a second."""


def drop_holidays(alias: str) -> str:
    """Return the frequency without its closed dates, which more data may add to or correct; the steps are the same."""
    return alias.partition(" closed ")[0]
