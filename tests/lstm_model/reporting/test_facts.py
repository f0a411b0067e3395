"""The facts of a report: what the data are, how they were split, how the model was trained."""

from lstm_model.contracts.profile import Profile
from lstm_model.contracts.stage_meta import ModelMeta
from lstm_model.reporting.facts import describe_data, describe_training, show_moment
from tests.factories import windows_meta


def test_moments_lose_the_digits_that_say_nothing():
    moments = ["2024-03-01T12:00:00.000000", "2024-03-01T00:00:00.000000", "2024-03-01T12:30:15.000000", "17"]
    assert [show_moment(ds) for ds in moments] == ["2024-03-01 12:00", "2024-03-01", "2024-03-01 12:30:15", "17"]


def test_series_that_are_cut_at_their_own_end_are_said_to_be():
    profile = Profile.model_construct(
        num_series=2, num_observed=2000, length_min=900, length_max=1100, start="0", end="1099", frequency="1"
    )
    facts = dict(describe_data(profile, windows_meta(align="end", windows={"train": 12, "validation": 3, "test": 4})))
    assert facts["values a series"] == "900 to 1,100"
    assert facts["tested on"] == "targets up to 99 at the latest: each series by its own end: 4 windows"
    facts = dict(describe_data(profile, windows_meta()))
    assert facts["trained on"] == "targets up to 79: 0 windows"


def test_the_training_is_told_with_its_remarks():
    trained = ModelMeta(best_step=1200, notes=["a", "b"], device="cpu", precision="fp32")
    assert describe_training(trained, num_windows=10_000) == [
        ("device", "cpu, fp32"),
        ("training windows", "10,000"),
        ("steps taken", "1,200"),
        ("remarks", "a; b"),
    ]
