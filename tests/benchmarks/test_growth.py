"""A small slice: every stage runs and is measured, all sizes train one network, the plot is drawn."""

from PIL import Image

from benchmarks import growth


def test_every_stage_is_measured_and_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "STEPS", 2)
    rows, named = [], ("ingest", "window", "load windows", "training step", "forecast")
    for series, steps in ((2, 500), (3, 500), (2, 700)):
        folder = tmp_path / f"{series}-{steps}"
        folder.mkdir()
        growth.make_source(folder, series, steps)
        found = {name: figures for stage in growth.STAGES.values() for name, figures in stage(folder).items()}
        assert tuple(found) == named
        assert all(figures["seconds"] > 0 and figures["peak_mebibytes"] > 50 for figures in found.values())
        rows += [
            {"series": series, "steps": steps, "stage": name, **{k: growth.spread([v]) for k, v in figures.items()}}
            for name, figures in found.items()
        ]
    assert growth.plan_of(folder, 1).model == growth.plan_of(tmp_path / "2-500", 1).model
    growth.plot(rows, tmp_path / "growth.png")
    assert Image.open(tmp_path / "growth.png").width == 900
    assert "| 3 | 500 | forecast |" in growth.table(rows)
