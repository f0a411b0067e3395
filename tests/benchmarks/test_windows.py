"""A small slice of the benchmark: it runs, and windows on disk stay views."""

from benchmarks import windows


def test_windows_are_written_and_read_back_in_little_room(tmp_path):
    series, steps = 4, 3000
    windows.make_table(tmp_path, series, steps)
    written, read = windows.stage(tmp_path, 0), windows.stream(tmp_path, 0)
    split = 8 * windows.HORIZON
    training = steps - 2 * split - windows.WIDTH + 1
    assert written["windows"] == read["windows"] == series * (training + 2 * (split - windows.HORIZON + 1))
    assert written["disk"] / written["windows"] < 8, "864 bytes where each window is a copy"
    saved = windows.numpy_save(tmp_path, series)
    assert saved["windows"] == series * (steps - windows.WIDTH + 1)
    assert saved["disk"] / saved["windows"] > 4 * windows.WIDTH
