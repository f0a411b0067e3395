"""Approve a challenger, or roll back: a bundle that was judged before becomes champion, as it is.

python -m flows.promote challenger --name sales
python -m flows.promote previous --name sales        # roll back
python -m flows.promote 3f2a --name sales            # any bundle, by the beginning of its version
"""

from __future__ import annotations

from prefect import flow

from flows.hooks import tell_crash, tell_failure
from lstm_model.contracts.settings import ProblemName
from tasks.actions.promote import Promoted, promote_by_hand
from tasks.actions.publish import open_store


@flow(name="promote", on_failure=[tell_failure], on_crashed=[tell_crash])
def promote(
    bundle: str, name: ProblemName, store: str = "store", reason: str = "", notify: str | None = None
) -> Promoted:
    """Make a bundle the champion, which makes the forecasts from now on.

    Args:
        bundle: challenger approves the last one, previous rolls back; or the beginning of any bundle's version.
        name: The forecasting problem.
        store: Folder that keeps the artifacts.
        reason: Why, for the history.
        notify: A Prefect notification block, as type/name.
    """
    return promote_by_hand(bundle, name, reason, notify, open_store(store, name))


if __name__ == "__main__":
    from flows.cli import main_promote

    raise SystemExit(main_promote())
