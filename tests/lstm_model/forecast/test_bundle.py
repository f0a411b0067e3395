import json

import numpy as np
import pytest
import torch

from lstm_model.contracts.bundle_card import InputShape, read_bundle_card
from lstm_model.contracts.settings import ModelSpec
from lstm_model.forecast.bundle import load_bundle, save_bundle
from lstm_model.forecast.calibrate import (
    WIDEST,
    Calibration,
    CalibrationWindows,
    apply_offsets,
    calibrate,
    find_conformal_offsets,
    measure_relative_widths,
)
from lstm_model.forecast.forecaster import Forecaster
from lstm_model.networks.models import build_network
from lstm_model.training.validation import seen_in
from lstm_model.windows.in_memory import Windows
from tests.factories import bundle_card, model_card, score_record

SPEC = {
    "kind": "mixture",
    "hidden_dim": 8,
    "layer_dim": 1,
    "segment": 4,
    "dropout": 0.1,
    "normalisation": "mean_std",
    "levels": (0.8, 0.95),
}


@pytest.fixture
def windows() -> Windows:
    rng = np.random.default_rng(0)
    return Windows.from_arrays([rng.normal(100, 5, 40), rng.normal(-3, 0.1, 25)], context=10, horizon=6)


@pytest.fixture
def forecaster() -> Forecaster:
    torch.manual_seed(0)
    spec, shape = ModelSpec(**SPEC), InputShape(10, 6, 5)
    network = build_network(spec, shape)
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    offsets = np.linspace(-0.1, 0.3, 12, dtype=np.float32).reshape(2, 6)
    return Forecaster(network, spec, shape, {"past": [], "future": [], "static": []}, Calibration(offsets, {"0": 1.5}))


def test_predict_is_in_original_units_ordered_and_independent_of_the_batch_size(forecaster, windows):
    forecast = forecaster.predict(windows)
    assert forecast.shape == (len(windows), 6, 5) and forecast.dtype == np.float32
    assert (np.diff(forecast, axis=-1) >= 0).all()
    first_series = windows.series_W.numpy() == 0
    assert forecast[first_series].mean() > 80 and abs(forecast[~first_series].mean() + 3) < 1
    np.testing.assert_allclose(forecaster.predict(windows, batch_size=7), forecast, rtol=1e-4)
    assert forecaster.quantiles == (0.025, 0.1, 0.5, 0.9, 0.975)


def test_offsets_move_the_intervals_and_not_the_median(forecaster, windows):
    calibrated = forecaster.predict(windows)
    forecaster.calibration = None
    plain = forecaster.predict(windows)
    np.testing.assert_array_equal(calibrated[..., 2], plain[..., 2])
    assert (calibrated[:, -1, 0] < plain[:, -1, 0]).all() and (calibrated[:, -1, -1] > plain[:, -1, -1]).all()


def test_a_series_has_a_width_of_its_own(forecaster, windows):
    calibrated, of_first = forecaster.predict(windows), windows.series_W.numpy() == 0
    forecaster.calibration = Calibration(forecaster.calibration.offsets_JH)
    plain = forecaster.predict(windows)
    wide, narrow = (np.diff(forecast[..., [0, 2, -1]], axis=-1) for forecast in (calibrated, plain))
    np.testing.assert_allclose(wide[of_first], 1.5 * narrow[of_first], rtol=1e-3)
    np.testing.assert_array_equal(wide[~of_first], narrow[~of_first])


def test_other_windows_are_refused(forecaster):
    other = Windows.from_arrays([np.arange(40.0)], context=11, horizon=6)
    with pytest.raises(ValueError, match=r"context=11.*expected.*context=10"):
        forecaster.predict(other)


def test_a_bundle_forecasts_as_before(forecaster, windows, tmp_path):
    card = bundle_card(scores=[score_record(**{"coverage-80": None})])
    save_bundle(tmp_path, forecaster, card)
    state = torch.get_rng_state()
    loaded = load_bundle(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(loaded.predict(windows), forecaster.predict(windows))
    assert (loaded.spec, loaded.shape, loaded.scaler) == (forecaster.spec, forecaster.shape, forecaster.scaler)
    assert read_bundle_card(tmp_path) == card
    assert {file.name for file in tmp_path.iterdir()} == {"model.safetensors", "bundle.json"}


def test_the_bytes_of_a_bundle_are_deterministic(forecaster, tmp_path):
    for name in ("a", "b"):
        save_bundle(tmp_path / name, forecaster, model_card(versions={"y": "1", "x": "2"}))
    for file in ("model.safetensors", "bundle.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def _truncate(file):
    file.write_bytes(file.read_bytes()[:-5])


def _flip(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))


def _retouch(file):
    record = json.loads(file.read_text())
    record["card"]["mae"] = 0.1
    file.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.safetensors", _truncate),
        ("model.safetensors", _flip),
        ("model.safetensors", lambda file: file.unlink()),
        ("bundle.json", _truncate),
        ("bundle.json", _retouch),
        ("bundle.json", lambda file: file.unlink()),
        ("bundle.json", lambda file: file.write_text("[]")),
    ],
)
def test_a_damaged_bundle_is_a_clear_error(forecaster, tmp_path, name, damage):
    save_bundle(tmp_path, forecaster, model_card())
    damage(tmp_path / name)
    with pytest.raises(ValueError, match=name):
        load_bundle(tmp_path)


def test_conformal_intervals_cover_fresh_data_at_every_step():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(4000, 3)) * [1.0, 2.0, 4.0]
    forecast = np.tile(np.array([-1.0, -0.5, 0.0, 0.5, 1.0], np.float32), (4000, 3, 1))
    observed = np.ones((2000, 3), bool)
    quantiles = (0.025, 0.1, 0.5, 0.9, 0.975)
    offsets, note = find_conformal_offsets(forecast[:2000], noise[:2000], observed, quantiles)
    moved, fresh = apply_offsets(forecast[2000:], offsets), noise[2000:]
    wide = ((fresh >= moved[..., 0]) & (fresh <= moved[..., 4])).mean(axis=0)
    narrow = ((fresh >= moved[..., 1]) & (fresh <= moved[..., 3])).mean(axis=0)
    np.testing.assert_allclose(wide, 0.95, atol=0.02)
    np.testing.assert_allclose(narrow, 0.8, atol=0.03)
    assert "2000 validation windows" in note


def test_intervals_that_are_too_wide_are_narrowed_to_the_median_at_most():
    forecast = np.tile(np.array([-9.0, 0.0, 9.0], np.float32), (50, 1, 1))
    offsets, _ = find_conformal_offsets(forecast, np.zeros((50, 1)), np.ones((50, 1), bool), (0.1, 0.5, 0.9))
    assert apply_offsets(forecast, offsets + 0).tolist() == [[[0.0, 0.0, 0.0]]] * 50


def test_series_that_err_more_get_wider_intervals_the_more_they_were_seen():
    error_K, quantiles = np.array([1.0, 2.0, 1.0, 8.0, 1e9]), np.array([-1.0, 0.0, 1.0], np.float32)
    y, observed = np.tile(error_K[:, None], (1, 2)), np.ones((5, 2), bool)
    observed[2], observed[3, 1] = False, False
    seen = CalibrationWindows(list("abcde"), np.arange(5), np.full(5, 4, np.float32))
    widths = measure_relative_widths(np.tile(quantiles, (5, 2, 1)), y, observed, seen)
    typical = 5.0  # the median of 1, 2, 8 and 1e9
    expected = [(4 + 4 / typical) / 8, (4 + 8 / typical) / 8, 1, (4 + 2 * 8 / typical) / 6, (4 + 4 * WIDEST) / 8]
    np.testing.assert_allclose(widths, expected, rtol=1e-6)
    one = CalibrationWindows(["a"], np.zeros(5, int), np.full(1, 20, np.float32))
    assert measure_relative_widths(np.tile(quantiles, (5, 2, 1)), y, observed, one).tolist() == [1.0]


def test_quiet_and_noisy_series_are_both_covered():
    rng, quantiles = np.random.default_rng(0), (0.1, 0.5, 0.9)
    noise_K = np.array([0.2, 1.0, 5.0])
    forecast = np.tile(np.array([-1.0, 0.0, 1.0], np.float32), (900, 4, 1))
    series_W = np.arange(900) % 3
    y = (rng.normal(size=(900, 4)) * noise_K[series_W, None]).astype(np.float32)
    seen = CalibrationWindows(["quiet", "usual", "noisy"], series_W, np.full(3, 300, np.float32))
    found, note = calibrate(forecast, y, np.ones((900, 4), bool), quantiles, seen)
    moved = found.apply(forecast, seen.unique_ids, series_W)
    inside_W = ((y >= moved[..., 0]) & (y <= moved[..., 2])).mean(axis=1)
    assert [round(float(inside_W[series_W == k].mean()), 1) for k in range(3)] == [0.8, 0.8, 0.8]
    assert "0.21 to 4.9" in note, "the prior pulls a little"


def test_overlapping_windows_tell_no_more_than_their_steps():
    apart, overlapping = (
        Windows.from_arrays([np.ones(34), np.ones(16)], context=10, horizon=6, stride=n) for n in (6, 1)
    )
    assert seen_in(apart).horizons_K.tolist() == seen_in(overlapping).horizons_K.tolist() == [4.0, 1.0]
    assert seen_in(overlapping.take(torch.arange(0))).horizons_K.tolist() == [0.0, 0.0]


def test_few_windows_pool_over_steps_and_fewer_still_are_not_calibrated():
    rng = np.random.default_rng(0)
    forecast = np.tile(np.array([-1.0, 0.0, 1.0], np.float32), (5, 8, 1))
    y, observed = rng.normal(size=(5, 8)), np.ones((5, 8), bool)
    offsets, note = find_conformal_offsets(forecast, y, observed, (0.025, 0.5, 0.975))
    assert len(set(offsets[0].tolist())) == 1 and "take all steps together" in note
    observed[2:] = False
    offsets, note = find_conformal_offsets(forecast, y, observed, (0.025, 0.5, 0.975))
    assert offsets is None and "too few" in note


def test_unobserved_points_do_not_calibrate():
    forecast = np.tile(np.array([-1.0, 0.0, 1.0], np.float32), (60, 2, 1))
    y, observed = np.zeros((60, 2)), np.ones((60, 2), bool)
    clean, _ = find_conformal_offsets(forecast, y, observed, (0.1, 0.5, 0.9))
    y[:30, 1], observed[:30, 1] = 1e6, False
    masked, _ = find_conformal_offsets(forecast, y, observed, (0.1, 0.5, 0.9))
    np.testing.assert_array_equal(masked, clean)
