"""Forecasts against what happened: rare false alarms, quick true ones, and actuals that come late or change."""

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter

from lstm_model.contracts.clock import Clock
from lstm_model.contracts.settings import Monitoring, WindowSpec
from lstm_model.evaluation.error_scales import measure_scales
from lstm_model.lifecycle.cusum import CORRELATION, WIDER, Scale, find_threshold, run_chart
from lstm_model.lifecycle.envelope import envelope
from lstm_model.lifecycle.monitor import Piece, find_origin, watch
from tests.factories import envelope_of

STATED = Monitoring().periods_per_false_alarm
DAY = 24
BEGIN = 60 * DAY
"""Where the ledger begins; the test lies before it."""
SPEC = WindowSpec(
    context=48, horizon=24, season=24, frequency="1", stride=1, evaluation_stride=1, test_steps=192,
    validation_steps=192, align="calendar", pad_short=True,
)  # fmt: skip


class World:
    """An hourly panel with a daily shape, autocorrelated noise and quieter weekends, and a forecaster of it.

    Forecasts are the mean of the same hour one and two weeks before. From day `changed_on` (of the ledger) on, the
    shape of the day is another one.
    """

    def __init__(self, *, seed, days, num_series=6, changed_on=None, test_days=8):
        rng = np.random.default_rng(seed)
        self.ids = [f"s{k}" for k in range(num_series)]
        steps = np.arange(BEGIN + DAY * days)
        noise_KT = lfilter([1.0], [1.0, -0.5], rng.normal(0, 0.05, (num_series, len(steps))))
        quiet_T = np.where(steps // DAY % 7 >= 5, 0.85, 1.0)
        phase_K1 = rng.normal(0, 3, (num_series, 1))
        changed_T = 2.0 * (steps >= BEGIN + DAY * changed_on) if changed_on is not None else 0.0
        shape_KT = np.exp(0.4 * np.sin(2 * np.pi * steps / DAY + phase_K1 + changed_T))
        self.y_KT = 10 ** rng.uniform(0, 3, (num_series, 1)) * shape_KT * np.exp(noise_KT) * quiet_T
        before_K = {name: y[: BEGIN - test_days * DAY] for name, y in zip(self.ids, self.y_KT, strict=True)}
        self.scales = measure_scales(before_K, season=DAY)
        self.usual = envelope(self._tested(test_days), scales=self.scales, spec=SPEC)

    def forecasts(self, cutoffs, version="a"):
        """Ledger rows of every series at these cutoffs."""
        ds_CH = np.asarray(cutoffs)[:, None] + np.arange(1, 25)
        median_N = ((self.y_KT[:, ds_CH - 168] + self.y_KT[:, ds_CH - 336]) / 2).ravel()
        num, each = len(self.ids), ds_CH.size
        frame = {
            "unique_id": np.repeat(self.ids, each),
            "cutoff": np.tile(np.repeat(cutoffs, 24), num),
            "ds": np.tile(ds_CH.ravel(), num),
            "step": np.tile(np.arange(1, 25, dtype=np.int32), num * len(ds_CH)),
            "median": median_N,
            "model_version": version,
        }
        for level, width in (("80", 0.09), ("95", 0.138)):
            frame |= {f"lo_{level}": median_N * (1 - width), f"hi_{level}": median_N * (1 + width)}
        return pd.DataFrame(frame)

    def ledger(self, every=DAY, version="a"):
        return self.forecasts(np.arange(BEGIN - 1, self.y_KT.shape[1] - DAY, every), version)

    def series(self, until=None):
        """The series table up to a step."""
        length = self.y_KT.shape[1] if until is None else until
        ids, steps = np.repeat(self.ids, length), np.tile(np.arange(length), len(self.ids))
        return pd.DataFrame({"unique_id": ids, "ds": steps, "y": self.y_KT[:, :length].ravel(), "observed": True})

    def watch(self, ledger=None, series=None, **options):
        ledger, series = self.ledger() if ledger is None else ledger, self.series() if series is None else series
        pieces = [Piece(ledger, series, self.scales)]
        return watch(pieces, **self.known(ledger, series), usual=self.usual, **{"champion": "a", **options})

    def known(self, ledger, series):
        """What is known of all series, whatever the pieces."""
        first = ledger[ledger["step"] == 1].groupby(["cutoff", "model_version"]).size()
        return {"issued": first.rename("num_series").reset_index(), "end": series.loc[series["observed"], "ds"].max()}

    def _tested(self, days):
        rows = self.forecasts(np.arange(BEGIN - days * DAY - 1, BEGIN - DAY)).drop(columns="model_version")
        y = self.y_KT[[self.ids.index(name) for name in rows["unique_id"]], rows["ds"]]
        return rows.rename(columns={"median": "lstm"}).assign(y=y)


def alarms_of(found):
    """Positions of the counted periods whose sum reached the threshold."""
    counted = found.periods[found.periods["counted"]].reset_index(drop=True)
    above = [counted[f"sum {name}"] >= limit for name, limit in found.thresholds.items()]
    return np.flatnonzero(np.any(above, axis=0))


@pytest.mark.parametrize("num_reference", [1, 3, 40])
def test_false_alarms_of_the_chart_are_as_rare_as_stated(num_reference):
    """Gaussian sequences with the autocorrelation allowed for, and a spread twice the first guess of it."""
    periods = 3 * STATED  # three charts share the stated rate
    limit, scale = find_threshold(num_reference, CORRELATION, periods), Scale(guess=1 / WIDER, least=0.0)
    rng, num_alarms, num_values = np.random.default_rng(1), 0, 0
    for _ in range(40):
        values = lfilter([1.0], [1.0, -CORRELATION], rng.standard_normal(1000) * np.sqrt(1 - CORRELATION**2))
        run = run_chart(values[num_reference:], values[:num_reference], scale=scale, threshold=limit)
        num_alarms, num_values = num_alarms + len(run.alarms), num_values + len(run.sums)
    expected = num_values / periods
    assert 0 < num_alarms <= expected + np.sqrt(expected), "at least some: a chart that never rings is no chart"


def test_a_change_does_not_become_normal():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 1, 10), rng.normal(5, 1, 18), rng.normal(0, 1, 6)])
    run = run_chart(values[3:], values[:3], scale=Scale(guess=1.0, least=0.0), threshold=3.8)
    changed = np.array(run.deviates[7:25])
    assert changed[:10].min() > 2.5, "what was learned from it is unlearned"
    assert changed[-3:].mean() < changed[:10].mean(), "as many values later it may be the reference that was odd"
    assert len(run.alarms) >= 4, "it asks again"
    assert not run.on, "it ends with the change"


@pytest.mark.parametrize("test_days", [1, 8])
def test_over_a_long_stationary_time_false_alarms_are_as_rare_as_stated(test_days):
    """Six years of daily forecasts of panels of one and of six series; the chart of the test is short."""
    num_alarms = num_periods = 0
    for num_series in (1, 6):
        for seed in range(3):
            found = World(seed=seed, days=366, num_series=num_series, test_days=test_days).watch()
            num_alarms, num_periods = num_alarms + len(alarms_of(found)), num_periods + len(found.periods)
    assert num_periods > 2000
    assert num_alarms <= num_periods / STATED


@pytest.mark.parametrize("num_series", [1, 6])
def test_a_change_of_the_shape_fires_within_three_periods_and_heals(num_series):
    delays = []
    for seed in range(6):
        world = World(seed=seed, days=31, num_series=num_series, changed_on=10)
        found = world.watch()
        alarms = alarms_of(found)
        assert (alarms >= 10).all(), "none before the change"
        delays.append(alarms[0] - 10 + 1)
        assert found.status == "normal", "the forecaster looks back two weeks: after that, its errors are as before"
        during = world.watch(series=world.series(until=BEGIN + 14 * DAY))
        assert during.alarm and during.evidence is not None
        assert "times what the model's test showed" in during.summary
    assert max(delays) <= 3


def test_an_error_that_stays_is_new_evidence_every_few_periods():
    world = World(seed=0, days=20, changed_on=6)
    series = [world.series(until=BEGIN + day * DAY) for day in range(1, 19)]
    looks = [world.watch(series=one) for one in series]
    evidence = [look.evidence for look in looks if look.alarm]
    assert len(evidence) >= 6, "it stays on while the error is there"
    assert len(set(evidence)) >= 3, "and asks again"
    assert world.watch(series=series[9]).evidence == looks[9].evidence, "the same look is the same evidence"


def test_a_long_serving_champion_has_the_same_evidence_at_each_look(monkeypatch):
    """Older periods are left out; that must not move where the others end, whenever it is looked and forecast."""
    monkeypatch.setattr("lstm_model.lifecycle.monitor.LOOK_BACK", 6)
    monkeypatch.setattr("lstm_model.lifecycle.monitor.BLOCK", 4)
    world = World(seed=0, days=26, changed_on=18)
    ledger = world.ledger(every=5)
    issued = ledger.groupby(["model_version", "cutoff"])["unique_id"].nunique().rename("num_series").reset_index()
    evidence, origins = {}, set()
    for until in range(BEGIN + 19 * DAY, BEGIN + 22 * DAY, 5):
        series, past = world.series(until=until), issued[issued["cutoff"] < until]
        origin = find_origin(past, champion="a", end=until - 1, usual=world.usual)
        found = world.watch(ledger=ledger[ledger["cutoff"].between(origin, until - 1)], series=series, origin=origin)
        over = (until - BEGIN) // DAY
        assert found.periods["end"].iloc[-1] == BEGIN - 1 + DAY * over
        assert 6 <= len(found.periods) < 6 + 4 + 1
        evidence.setdefault(over, set()).add(found.evidence)
        origins.add(int(origin))
    assert origins == {BEGIN - 1 + 12 * DAY}, "earlier ones are left out in blocks"
    assert all(len(one) == 1 for one in evidence.values()), "one for each state of the data"
    assert evidence[21] != {None}


def test_periods_begin_where_most_series_were_first_forecast():
    issued = pd.DataFrame({"model_version": list("aaba"), "cutoff": [5, 90, 95, 99], "num_series": [1, 3, 3, 3]})
    usual = envelope_of(period_steps=24)
    assert find_origin(issued, champion="a", end=99, usual=usual) == 99, "since it came back"
    assert find_origin(issued[:2], champion="a", end=99, usual=usual) == 90, "an ended series has an earlier one"
    assert find_origin(issued, champion="b", end=99, usual=usual) is None


def test_one_wild_period_is_no_alarm_and_a_correction_heals_it():
    world = World(seed=0, days=12)
    series = world.series()
    wild = series["ds"].between(BEGIN + 9 * DAY, BEGIN + 10 * DAY - 1)
    broken = series.assign(y=series["y"].where(~wild, 20 * series["y"]))
    found = world.watch(series=broken.query(f"ds < {BEGIN + 10 * DAY}"))
    assert found.periods["error"].iloc[-1] > 5 and not found.alarm
    twice = series["ds"] >= BEGIN + 8 * DAY
    assert world.watch(series=series.assign(y=series["y"].where(~twice, 20 * series["y"]))).alarm
    assert not world.watch(series=series).alarm, "the newest table wins: revised values undo it"


def test_targets_that_are_not_there_yet_wait():
    world = World(seed=1, days=12)
    half = world.series(until=BEGIN + 5 * DAY + 11)
    assert len(world.watch(series=half).periods) == 5, "a period counts when it is over"
    whole = world.series(until=BEGIN + 6 * DAY)
    late = whole["unique_id"].isin(world.ids[:4]) & (whole["ds"] >= BEGIN + 5 * DAY)
    assert len(world.watch(series=whole[~late]).periods) == 5, "two of six series have come: too few"
    early = whole["unique_id"].isin(world.ids[:2]) & (whole["ds"] >= BEGIN + 5 * DAY)
    found = world.watch(series=whole[~early])
    assert len(found.periods) == 6
    assert found.periods["error"].iloc[-1] == pytest.approx(
        world.watch(series=whole).periods["error"].iloc[-1], rel=0.3
    )
    unknown = whole.assign(observed=~late)
    assert len(world.watch(series=unknown).periods) == 5, "repaired values are not actuals"


def test_hourly_forecasts_count_once_a_period():
    world = World(seed=2, days=12)
    daily, hourly = world.watch(), world.watch(ledger=world.ledger(every=1))
    assert len(daily.periods) == len(hourly.periods)
    np.testing.assert_allclose(daily.periods["error"], hourly.periods["error"], rtol=0.3)


def test_only_forecasts_since_the_champion_came_count():
    world = World(seed=3, days=30, changed_on=10)
    change = BEGIN - 1 + 15 * DAY
    old, new = world.ledger(version="old"), world.ledger(version="new")
    ledger = pd.concat([old[old["cutoff"] <= change], new[new["cutoff"] >= change]])
    until = world.series(until=BEGIN + 14 * DAY)
    assert world.watch(ledger=old, series=until, champion="old").alarm
    waiting = world.watch(ledger=ledger, series=until, champion="new")
    assert waiting.status == "waiting" and len(waiting.periods) == 14, "drawn, but not counted"
    found = world.watch(ledger=ledger, champion="new")
    assert found.periods.groupby("model_version")["counted"].sum().to_dict() == {"new": 15, "old": 0}
    back = pd.concat([ledger, old[old["cutoff"] > change + 10 * DAY]])
    found = world.watch(
        ledger=back[(back["model_version"] == "old") | (back["cutoff"] <= change + 10 * DAY)], champion="old"
    )
    assert found.periods.query("counted")["end"].min() > change + 11 * DAY, "its earlier time here is over"


def test_a_test_that_ended_badly_is_no_alarm_until_forecasts_are_bad_too():
    """The gate has judged the test; but where its last periods were bad already, one more is enough."""
    world = World(seed=5, days=8, changed_on=4)
    calm = world.usual.log_error
    bad = {"log_error": [*calm[:-1], 2.0], "miss": [*world.usual.miss[:-1], 1.3]}
    world.usual = world.usual.model_copy(update=bad)
    assert world.watch(series=world.series(until=BEGIN + DAY)).status == "normal"
    worse = world.series(until=BEGIN + 5 * DAY)
    ledger = world.ledger()
    assert not World(seed=5, days=8, changed_on=4).watch(series=worse).alarm, "one bad period alone"
    assert world.watch(ledger=ledger[ledger["cutoff"] >= BEGIN + 4 * DAY - 1], series=worse).alarm


@pytest.mark.parametrize("changed_on", [None, 4])
def test_periods_are_told_in_the_clock_of_the_source(changed_on):
    world = World(seed=0, days=14, changed_on=changed_on)
    world.usual = world.usual.model_copy(update={"frequency": "h"})
    ledger, series = (
        table.assign(**{name: pd.Timestamp("2024-01-01") + pd.to_timedelta(table[name], "h") for name in names})
        for table, names in ((world.ledger(), ("cutoff", "ds")), (world.series(), ("ds",)))
    )
    utc = world.watch(ledger=ledger, series=series)
    local = world.watch(ledger=ledger, series=series, clock=Clock(zone="Etc/GMT-2", aware=False))
    assert utc.alarm == (changed_on is not None)
    assert (local.periods["end"] - utc.periods["end"] == pd.Timedelta(2, "h")).all()
    assert local.evidence == utc.evidence, "evidence keeps its name"
    assert f"up to {local.periods['end'].iloc[-1]:%Y-%m-%d %H:%M}" in local.summary


def test_pieces_of_a_panel_are_seen_as_one():
    """Also a series that is no longer in the table, and a period that only some pieces have."""
    world = World(seed=3, days=12, changed_on=8)
    ledger, series = world.ledger(), world.series()
    series = series[(series["unique_id"] != "s5") & ((series["unique_id"] != "s0") | (series["ds"] < BEGIN + 3 * DAY))]
    one = world.watch(ledger=ledger, series=series)
    pieces = [
        Piece(*(table[table["unique_id"].isin(ids)] for table in (ledger, series, world.scales)))
        for ids in (["s0"], ["s1", "s2", "s3"], ["s4"], ["s5"])
    ]
    other = watch(pieces, **world.known(ledger, series), usual=world.usual, champion="a")
    assert one.alarm and len(one.periods) > 8
    pd.testing.assert_frame_equal(one.periods, other.periods, rtol=1e-12)
    assert (one.summary, one.evidence) == (other.summary, other.evidence)


def test_nothing_to_compare_is_said():
    world = World(seed=4, days=3)
    empty = world.watch(ledger=world.ledger().head(0))
    assert (empty.status, empty.alarm, len(empty.periods)) == ("no forecasts", False, 0)
    early = world.watch(series=world.series(until=BEGIN))
    assert early.status == "waiting"
    strange = world.ledger().assign(unique_id="new series")
    assert world.watch(ledger=strange).status == "waiting", "a series without a scale cannot be compared"
