"""Write three files as people bring them: an export of loads, the receipts of a till, and a sheet of months."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from tests.lstm_model.sources.test_spreadsheets import write_xlsx

BUILDINGS = ("Gebäude A", "Gebäude B", "Verwaltung Süd", "Mensa", "Labor")
HOLIDAYS = {(1, 1), (5, 1), (10, 3), (12, 25), (12, 26)}
"""Months and days on which the shop is closed."""


def write_load_export(path: Path, first: str = "2024-03-01", last: str = "2025-02-28 23:00") -> Path:
    """Write hourly loads as a German Excel saves them: titles, units, a totals row, local time, cp1252.

    The clock of Europe/Berlin skips an hour in spring and shows one twice in autumn.
    """
    local = pd.date_range(first, last, freq="h", tz="Europe/Berlin")
    rng, hours = np.random.default_rng(1), local.hour.to_numpy()
    work = np.exp(-(((hours - 12) / 4.5) ** 2)) * np.where(local.day_of_week < 5, 1.0, 0.25)
    winter = 1 + 0.3 * np.cos(2 * np.pi * local.day_of_year.to_numpy() / 365.25)
    size = 40.0 * 1.7 ** np.arange(len(BUILDINGS))
    load = size * (0.3 + work[:, None] * winter[:, None]) * rng.lognormal(0, 0.06, (len(local), len(BUILDINGS)))
    lines = [
        ["Lastgang Liegenschaft Nord", *[""] * len(BUILDINGS)],
        [f"Zeitraum {local[0]:%d.%m.%Y} bis {local[-1]:%d.%m.%Y}", *[""] * len(BUILDINGS)],
        [""] * (len(BUILDINGS) + 1),
        ["Zeitstempel", *BUILDINGS],
        ["", *["kWh"] * len(BUILDINGS)],
        *([f"{moment:%d.%m.%Y %H:%M}", *map(_write_german, row)] for moment, row in zip(local, load, strict=True)),
        ["Summe", *map(_write_german, load.sum(axis=0))],
    ]
    path.write_text("".join(";".join(line) + "\r\n" for line in lines), encoding="cp1252", newline="")
    return path


def _write_german(number: float) -> str:
    return f"{number:,.2f}".translate(str.maketrans(",.", ".,"))


def write_receipts(path: Path, products: int = 60, first: str = "2023-01-02", last: str = "2024-12-31") -> Path:
    """Write the lines of a till: one row a sale; products come and go, Sundays and holidays are closed."""
    rng = np.random.default_rng(2)
    days = pd.date_range(first, last)
    is_open = np.array([day.day_of_week < 6 and (day.month, day.day) not in HOLIDAYS for day in days])
    rows = []
    for product in range(products):
        starts, ends = 0, len(days)
        if product % 6 == 4:
            starts = int(rng.integers(len(days) // 4, len(days) // 2))
        if product % 6 == 5:
            ends = int(rng.integers(len(days) // 2, 3 * len(days) // 4))
        daily = rng.lognormal(0.2, 0.9)
        week = 1 + 0.5 * (days.day_of_week == 5) - 0.2 * (days.day_of_week == 0)
        sales = rng.poisson(daily * week * is_open)
        sales[:starts] = sales[ends:] = 0
        price = round(float(rng.uniform(0.8, 30)), 2)
        for day, count in enumerate(sales):
            for _ in range(count):
                moment = days[day] + pd.Timedelta(seconds=int(rng.integers(8 * 3600, 20 * 3600)))
                rows.append((moment, f"{100 + 7 * product:05d}", 1 + int(rng.poisson(0.3)), price))
    rows.sort()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["date_time", "article", "quantity", "price"])
        writer.writerows((f"{row[0]:%Y-%m-%d %H:%M:%S}", *row[1:3], f"{row[3]:.2f}") for row in rows)
    return path


def write_months(path: Path, months: int = 90, first: str = "2018-01-01") -> Path:
    """Write a sheet with a title and one row a month, whose cells are dates that Excel shows as Jan 18."""
    rng, steps = np.random.default_rng(3), np.arange(months)
    counts = (900 + 4 * steps) * (1 + 0.25 * np.sin(2 * np.pi * steps / 12)) * rng.lognormal(0, 0.03, months)
    dates = pd.date_range(first, periods=months, freq="MS")
    rows = [[month, round(count)] for month, count in zip(dates, counts.tolist(), strict=True)]
    return write_xlsx(path, {"Stays": [["Overnight stays, Hotel Seeblick"], [], ["Month", "Stays"], *rows]})
