import numpy as np
import pytest
import torch

from benchmarks import tutorial_script
from lstm_model.contracts.bundle_card import InputShape
from lstm_model.contracts.settings import ModelSpec
from lstm_model.networks.losses import MEDIAN_SHARE, RELATIVE_WEIGHT, measure_error_scale, sum_pinball
from lstm_model.networks.mixture import MixtureForecaster
from lstm_model.networks.models import LSTMModel, build_network
from lstm_model.networks.normalise import invert_transform, normalise_context
from lstm_model.networks.repeated_seasons import repeat_last_season, repeat_seasons
from lstm_model.networks.seasonality import find_seasonality
from lstm_model.networks.segmented import NormalisedForecast, SegmentedLSTM
from lstm_model.networks.smoothing import smooth_forecasts
from lstm_model.windows.in_memory import Batch, Windows


def spec(**changes) -> ModelSpec:
    settings = {
        "kind": "mixture",
        "hidden_dim": 8,
        "layer_dim": 2,
        "segment": 4,
        "dropout": 0.0,
        "normalisation": "mean_std",
        "levels": (0.8, 0.95),
    }
    return ModelSpec(**(settings | changes))


def a_batch(*, context: int = 10, horizon: int = 7, rows: int = 5, past: int = 0, future: int = 0, static: int = 0):
    torch.manual_seed(0)
    width = context + horizon
    return Batch(
        target_BW=100 + 5 * torch.randn(rows, width),
        observed_BW=torch.ones(rows, width, dtype=torch.bool),
        past_BLP=torch.randn(rows, context, past),
        future_BWF=torch.randn(rows, width, future),
        static_BS=torch.randn(rows, static),
        level_B1=torch.zeros(rows, 1),
    )


def trained_a_little(network: SegmentedLSTM) -> SegmentedLSTM:
    """Heads start at zero; move every weight so that all paths count."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return network.eval()


def test_weights_of_the_tutorials_class_load_and_the_other_way_round():
    torch.manual_seed(0)
    x, theirs, ours = torch.randn(3, 10, 1), tutorial_script.LSTMModel(1, 20, 2, 4), LSTMModel(1, 20, 2, 4)
    ours.load_state_dict(theirs.state_dict())
    assert ours(x).shape == (3, 4)
    assert torch.equal(ours(x), theirs(x))
    changed = trained_a_little(LSTMModel(1, 20, 2, 4))
    theirs.load_state_dict(changed.state_dict())
    assert torch.equal(theirs(x), changed(x)) and not torch.equal(ours(x), changed(x))


def test_the_tutorials_network_keeps_no_state_and_runs_on_any_device():
    torch.manual_seed(0)
    model, x = LSTMModel(input_dim=2, hidden_dim=5, layer_dim=1, output_dim=3), torch.randn(4, 7, 2)
    assert torch.equal(model(x), model(x))
    there = model.to("meta")(x.to("meta"))
    assert (there.device.type, there.shape) == ("meta", (4, 3))


@pytest.mark.parametrize("segment", [1, 3, 4, 10, 99])
@pytest.mark.parametrize("covariates", [(0, 0, 0), (2, 1, 3)])
def test_shapes_for_any_segment_and_covariates(segment, covariates):
    past, future, static = covariates
    shape = InputShape(10, 7, 3, past, future, static)
    network = trained_a_little(MixtureForecaster(spec(segment=segment), shape))
    values, loc, scale = network(a_batch(past=past, future=future, static=static))
    assert values.shape == (5, 7, 5)
    assert loc.shape == scale.shape == (5, 1)
    assert (values.diff(dim=-1) > 0).all(), "quantiles must not cross"


def test_forecast_depends_on_nothing_after_the_cutoff_but_future_covariates():
    shape = InputShape(10, 7, 3, 1, 1, 1)
    network = trained_a_little(MixtureForecaster(spec(), shape))
    batch = a_batch(past=1, future=1, static=1)
    before = network(batch).values_BHQ
    batch.target_BW[:, 10:] = float("nan")
    torch.testing.assert_close(network(batch).values_BHQ, before)
    batch.future_BWF[:, 12] += 1
    changed = (network(batch).values_BHQ != before).any(dim=-1).any(dim=0)
    assert changed[:4].all(), "a future covariate reaches the segment it belongs to"


def test_scaler_is_applied_and_checked():
    shape = InputShape(10, 7, 3, static=1)
    batch = a_batch(static=1)
    plain = trained_a_little(MixtureForecaster(spec(), shape))
    scaled = MixtureForecaster(spec(), shape, {"static": [[5.0, 2.0]]}).eval()
    scaled.load_state_dict({**plain.state_dict(), "static_scaler": scaled.static_scaler})
    shifted = Batch(**{**vars(batch), "static_BS": batch.static_BS * 2 + 5})
    torch.testing.assert_close(scaled(shifted).values_BHQ, plain(batch).values_BHQ, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="2 static covariates, the windows have 1"):
        MixtureForecaster(spec(), shape, {"static": [[0, 1], [0, 1]]})


def test_missing_values_are_masked_not_read():
    context = torch.tensor([[float("nan"), 1.0, 3.0, float("nan"), 5.0]])
    z, mask, loc, scale = normalise_context(context, "mean_std")
    assert mask.tolist() == [[0, 1, 1, 0, 1]]
    assert loc.item() == 3 and scale.item() == pytest.approx(np.std([1, 3, 5]))
    assert z[0, [0, 3]].tolist() == [0, 0]
    assert normalise_context(context, "last")[2].item() == 5
    assert normalise_context(context, "last")[3].item() == 2, "only neighbouring steps count"


@pytest.mark.parametrize("normalisation", ["mean_std", "last"])
@pytest.mark.parametrize("level", [0.0, 7.0, 1e6])
def test_a_flat_context_has_a_finite_scale(normalisation, level):
    z, _, loc, scale = normalise_context(torch.full((2, 6), level), normalisation)
    assert torch.isfinite(z).all() and (z.abs() < 1e-3).all()
    assert (scale == (level or 1.0)).all() and (loc == level).all()


@pytest.mark.parametrize("normalisation", ["mean_std", "last"])
def test_a_flat_context_of_logarithms_has_the_scale_of_no_unit(normalisation):
    flat = torch.tensor([[2.0] * 6, [1e6] * 6]).log()
    z, _, _, scale = normalise_context(flat, normalisation, "log")
    assert (z.abs() < 1e-3).all() and scale[0] == scale[1] <= 1


def original(result: NormalisedForecast) -> torch.Tensor:
    return result.values_BHQ * result.scale_B1[..., None] + result.loc_B1[..., None]


@pytest.mark.parametrize("transform", ["none", "log"])
@pytest.mark.parametrize("normalisation", ["mean_std", "last"])
def test_units_do_not_matter(normalisation, transform):
    changes = {"normalisation": normalisation, "transform": transform}
    network = trained_a_little(MixtureForecaster(spec(**changes), InputShape(10, 7, 3)))
    batch = a_batch()
    batch.target_BW[0, :10] = 5.0
    cents = Batch(**{**vars(batch), "target_BW": batch.target_BW * 100})
    euros = invert_transform(original(network(batch)), transform)
    torch.testing.assert_close(100 * euros, invert_transform(original(network(cents)), transform), rtol=1e-3, atol=1e-1)


def test_untrained_mixture_is_the_mean_of_all_simple_forecasts():
    batch = a_batch(context=42)
    z, mask, _, _ = normalise_context(batch.target_BW[:, :42], "mean_std")
    season = find_seasonality(z, mask, season=3, horizon=7)
    smoothed = smooth_forecasts(z - season.context_BL, mask, horizon=7) + season.horizon_BH[..., None]
    simple = torch.cat([smoothed, repeat_seasons(z, mask, season=3, horizon=7)], dim=-1)
    assert simple.shape[-1] == 14
    network = MixtureForecaster(spec(linear_skip=True), InputShape(42, 7, 3)).eval()
    torch.testing.assert_close(network(batch).values_BHQ[..., 2], simple.mean(-1), rtol=1e-4, atol=1e-4)


def test_a_network_of_logarithms_reads_zeros_as_missing_and_forecasts_positive_values():
    network = trained_a_little(MixtureForecaster(spec(transform="log"), InputShape(10, 7, 3)))
    batch = a_batch()
    zero, missing = batch.target_BW.clone(), batch.target_BW.clone()
    zero[:, [3, 9]], missing[:, [3, 9]] = 0.0, float("nan")
    results = [network(Batch(**{**vars(batch), "target_BW": target})) for target in (zero, missing)]
    torch.testing.assert_close(results[0].values_BHQ, results[1].values_BHQ)
    assert (invert_transform(original(results[0]), "log") > 0).all()
    nothing = network(Batch(**{**vars(batch), "target_BW": torch.zeros_like(zero)}))
    assert torch.isfinite(invert_transform(original(nothing), "log")).all()
    assert torch.isfinite(invert_transform(torch.tensor([1e9]), "log")).all()


def test_last_season_takes_the_newest_value_of_each_phase():
    z = torch.tensor([[0.0, 1, 2, 3, 4, 5, 6]])
    mask = torch.tensor([[1.0, 1, 1, 1, 1, 0, 1]])
    assert repeat_last_season(z, mask, season=3, horizon=5).tolist() == [[4, 2, 6, 4, 2]]
    padded = torch.tensor([[0.0, 0, 0, 0, 0, 0, 1]])
    assert repeat_last_season(z, padded, season=3, horizon=3).tolist() == [[6, 6, 6]], (
        "no value of a phase: the last value"
    )


def test_repeated_seasons_of_a_trend_with_a_season():
    t = torch.arange(6.0)
    z = torch.cat([torch.zeros(2), 2 * t + torch.tensor([0.0, 1, 0, 1, 0, 1])])[None]
    mask = torch.tensor([[0.0, 0, 1, 1, 1, 1, 1, 1]])
    season, mean_season = repeat_seasons(z, mask, season=2, horizon=3)[0].T
    assert season.tolist() == [8, 11, 8]
    torch.testing.assert_close(mean_season, torch.tensor([8.0, 11, 8]))


def test_the_errors_unit_is_that_of_repeating_the_season():
    context = torch.tensor([[1.0, 5, 2, 7, float("nan"), 8]])
    assert measure_error_scale(context, season=2).item() == pytest.approx((1 + 2 + 1) / 3)
    assert measure_error_scale(context[:, :2], season=2).item() == 4, "no whole season twice: neighbouring steps"


def test_pinball_counts_observed_targets_only():
    batch = a_batch(context=2, horizon=3, rows=1)
    batch.target_BW[0] = torch.tensor([0.0, 0.5, 1.0, 2.0, float("nan")])
    batch.observed_BW[0, 3:] = False
    forecast = NormalisedForecast(torch.zeros(1, 3, 3), torch.zeros(1, 1), torch.ones(1, 1))
    quantiles = torch.tensor([0.1, 0.5, 0.9])
    loss = sum_pinball(forecast, batch, quantiles, season=1)
    median, mean = 2 * 0.5, 2 * (0.1 + 0.5 + 0.9) / 3
    assert loss.item() == pytest.approx((MEDIAN_SHARE * median + (1 - MEDIAN_SHARE) * mean) / 0.5)


def test_of_logarithms_the_relative_error_of_smape_counts_too():
    batch = a_batch(context=2, horizon=2, rows=1)
    batch.target_BW[0] = torch.tensor([1.0, 2.0, 6.0, 0.0])
    forecast = NormalisedForecast(torch.full((1, 2, 1), 3.0).log(), torch.zeros(1, 1), torch.ones(1, 1))
    loss = sum_pinball(forecast, batch, torch.tensor([0.5]), season=1, transform="log")
    scaled, relative = np.log(6 / 3) / np.log(2 / 1), 2 * abs(6 - 3) / (6 + 3)
    assert loss.item() == pytest.approx(scaled + RELATIVE_WEIGHT * relative), (
        "a target without a logarithm does not count"
    )


def test_the_tutorials_network_refuses_covariates():
    with pytest.raises(ValueError, match="reads the target only"):
        build_network(spec(kind="tutorial"), InputShape(10, 1, 1, past=1))


def test_padded_windows_are_read():
    windows = Windows.from_arrays([np.r_[[np.nan] * 6, np.arange(12.0)]], context=10, horizon=7)
    result = trained_a_little(MixtureForecaster(spec(), InputShape(10, 7, 3)))(
        windows.gather_batch(torch.arange(len(windows)))
    )
    assert torch.isfinite(result.values_BHQ).all()
