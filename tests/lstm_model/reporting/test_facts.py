"""The facts of a report: what the data are, how they were split, how the model was trained."""

from lstm_model.contracts.clock import Clock
from lstm_model.contracts.profile import Profile
from lstm_model.contracts.stage_meta import ModelMeta
from lstm_model.reporting.facts import describe_data, describe_training
from tests.factories import windows_meta


def test_series_that_are_cut_at_their_own_end_are_said_to_be():
    profile = Profile.model_construct(
        num_series=2, num_observed=2000, length_min=900, length_max=1100, start="0", end="1099", frequency="1"
    )
    facts = dict(describe_data(profile, windows_meta(align="end", windows={"train": 12, "validation": 3, "test": 4})))
    assert facts["values a series"] == "900 to 1,100"
    assert facts["tested on"] == "targets up to 99 at the latest: each series by its own end: 4 windows"
    facts = dict(describe_data(profile, windows_meta()))
    assert facts["trained on"] == "targets up to 79: 0 windows"


def test_moments_are_told_in_the_clock_of_the_source():
    ends = {"start": "2024-03-30T23:00:00.000000", "end": "2024-03-31T02:00:00.000000"}
    sizes = dict.fromkeys(("num_series", "num_observed", "length_min", "length_max"), 4)
    profile = Profile.model_construct(frequency="h", **ends, **sizes)
    cutoffs = dict.fromkeys(("train", "validation", "test"), "2024-03-31T01:00:00.000000")
    cut = windows_meta().model_copy(update={"cutoffs": cutoffs})
    facts = dict(describe_data(profile, cut, Clock(zone="Europe/Berlin", aware=False)))
    assert (facts["from"], facts["to"]) == ("2024-03-31", "2024-03-31 04:00")
    assert facts["tested on"].startswith("targets up to 2024-03-31 03:00")
    assert facts["clock"] == "Europe/Berlin, in which all times are shown"


def test_the_training_is_told_with_its_remarks():
    trained = ModelMeta(best_step=1200, notes=["a", "b"], device="cpu", precision="fp32")
    assert describe_training(trained, num_windows=10_000) == [
        ("device", "cpu, fp32"),
        ("training windows", "10,000"),
        ("steps taken", "1,200"),
        ("remarks", "a; b"),
    ]
