"""How unusual a principal's window is, compared with the past of the principal and its pool, in nats.

Each part is log(q / rate) if that is positive: the rate of the behavior among intruders (q) divided by its
rate in the baseline's quiet principal-windows. Behavior that is common in the baseline adds nothing.
The resources of a window are scored in `tocsin.stats.surprise`.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from tocsin.contract.findings import Json
from tocsin.stats.circular import HOURS, hour_density, shrunk
from tocsin.stats.surprise import Floats, Ints, counted
from tocsin_detectors._access_log import Log, Session
from tocsin_detectors._access_rows import UNKNOWN

Flags = npt.NDArray[np.bool_]
Rates = Mapping[str, Any]

#: Share of intruders' sessions with a new address, a new program or a new action.
NOVEL: Mapping[str, float] = MappingProxyType({"address": 0.5, "agent": 0.5, "action": 0.2})
#: Share of intruders' sessions with a new account, an unknown account or a dormant account.
NEWCOMER, UNIDENTIFIED, DORMANT = 0.05, 0.5, 0.05
#: Share of intruders' sessions in the principal's usual hours.
IN_HOURS = 0.5
#: Weight of the pool's windows and hours, in the principal's own windows and hours.
STRENGTH = 10.0
#: The robust z above which volume adds nats. It is high because many principals sometimes scan resources.
UNUSUAL: Mapping[str, float] = MappingProxyType({"resources": 4.0, "bytes": 3.0})
#: The names of the parts of volume.
VOLUME = tuple(f"many_{name}" for name in UNUSUAL)
#: Maximum nats of volume.
MOST = 6.0
#: Maximum nats of any other part, so that no part alone makes a finding.
SINGLE = 3.0
#: Share of activity that is spread evenly over all hours.
EVEN = 0.05
#: All pools together: used if the baseline does not contain a pool.
ALL = "*"
#: Maximum number of actions with a rate of their own: the most frequent.
ACTIONS = 1_000
_OTHERS = ("newcomer", "unknown", "gaps", "resources", "bytes", "hours")
_GAPS = 500


@dataclass(frozen=True, slots=True)
class Oddity:
    """One part of a score: its name, its nats, and its facts."""

    name: str
    nats: float
    facts: Json


def rates(log: Log, period: float) -> dict[str, Any]:
    """Rates in quiet principal-windows of `period` days, by pool: plain JSON for the baseline."""
    result: dict[str, Any] = {field: {} for field in (*NOVEL, *_OTHERS)}
    for pool, rows in pools(log):
        for field in NOVEL:
            result[field][pool] = _rate_of_new(log, rows, field, period)
        result["newcomer"][pool] = _rate_of_newcomers(log, rows, period)
        part = log.where(rows)
        result["unknown"][pool] = _rate_of_unknown(part, period)
        result["gaps"][pool] = _gaps(part, period)
        result["resources"][pool], result["bytes"][pool] = map(_spread, _volumes(part, period))
        result["hours"][pool] = hours_of(part).tolist()
    result["unheard"] = _first_touch_rates(log)
    return result


def first_touch_rates(log: Log, learned: Rates, actions: Ints) -> Floats:
    """How often each action touches a resource that no principal touched before."""
    known = learned["unheard"]
    rate = np.asarray([*(known.get(name, known[ALL]) for name in log.names["action"].values), known[ALL]])
    return np.asarray(rate[actions])


def oddities(session: Session, learned: Rates) -> list[Oddity]:
    """The unusual parts of a principal's window, given the rates that `rates` returned.

    New, unknown and dormant principals and new values are reported even if they are common (0 nats).
    """
    mine = {
        name: by_pool.get(session.pool, by_pool[ALL])
        for name, by_pool in learned.items()
        if name != "unheard"
    }
    found = [odd for odd in (_off_hours(session, mine), *_volume(session, mine)) if odd.nats > 0]
    if session.principal.startswith(UNKNOWN):
        facts = "the source does not identify the principal"
        found.append(Oddity("unknown_principal", _nats(UNIDENTIFIED, mine["unknown"]), facts))
    elif len(session.past):
        found += [odd for odd in (_dormant(session, mine), *_new_values(session, mine)) if odd]
    else:
        facts = f"{mine['newcomer']:.1%} of windows are the first window of a new principal"
        found.append(Oddity("first_seen_principal", _nats(NEWCOMER, mine["newcomer"]), facts))
    return found


def _nats(intruder: float, rate: float) -> float:
    return min(max(0.0, math.log(intruder / rate)), SINGLE)


def _new_values(session: Session, mine: Rates) -> Iterator[Oddity]:
    for field, often in NOVEL.items():
        new = session.values(field, new=True)
        if new and (session.past.codes[field] >= 0).any():
            yield Oddity(f"first_seen_{field}", _nats(often, mine[field]), new[:10])


def _dormant(session: Session, mine: Rates) -> Oddity | None:
    """A long absence. The rate is that of half its length, so that a slightly longer absence than before is not rare."""
    gaps = mine["gaps"]  # in ascending order
    rate = (len(gaps) - bisect.bisect_left(gaps, session.absent / 2) + 1) / (len(gaps) + 1)
    nats = _nats(DORMANT, rate)
    last = session.now - session.past.time[-1]
    return Oddity("dormant_principal", nats, f"last seen {last:.0f} days before") if nats > 0 else None


def _off_hours(session: Session, mine: Rates) -> Oddity:
    """How unusual the hours are, weighted by how surprising the accesses in each hour are."""
    own = shrunk(hours_of(session.past), hour_density(np.asarray(mine["hours"])), STRENGTH)
    hour = np.floor(session.today.time * HOURS).astype(np.int64) % HOURS
    weight = np.asarray([session.nats[code] for code in session.today.codes["resource"].tolist()])
    weight = counted(hour, HOURS, weight + 1e-9)
    odds = np.log(IN_HOURS + (1 - IN_HOURS) / (HOURS * ((1 - EVEN) * own + EVEN / HOURS)))
    nats = float(odds @ weight / weight.sum())
    seen = [f"{at:02d}:00 UTC" for at in np.flatnonzero(weight)]
    return Oddity("off_hours", min(max(0.0, nats), SINGLE), seen)


def _volume(session: Session, mine: Rates) -> Iterator[Oddity]:
    past, today = session.volume or (session.past, session.today)
    counts = len(np.unique(today.codes["resource"])), float(today.bytes.sum())
    usual = _volumes(past, session.period)
    for name, count, own in zip(UNUSUAL, counts, usual, strict=True):
        if mine[name] is None:
            continue
        middle, spread = mine[name]
        if own_spread := _spread(own):
            share = len(own) / (len(own) + STRENGTH)
            middle = share * own_spread[0] + (1 - share) * middle
            spread = share * own_spread[1] + (1 - share) * spread
        z = (math.log1p(count) - middle) / spread
        facts = f"{count:.0f}; about {math.expm1(middle):.0f} are usual"
        yield Oddity(f"many_{name}", min(max(z - UNUSUAL[name], 0.0), MOST), facts)


def pools(log: Log) -> Iterator[tuple[str, Flags]]:
    """The rows of all pools together, and the rows of each common pool."""
    rows = log.pool[log.codes["principal"]]
    yield ALL, np.ones(len(log), dtype=bool)
    for code, pool in enumerate(log.common_pools):
        yield pool, rows == code


def windows_of(log: Log, period: float) -> Ints:
    """A code for each row's window and principal."""
    return np.floor(log.time / period).astype(np.int64) * len(log.pools) + log.codes["principal"]


def _begin(log: Log, period: float, rows: Flags) -> Floats:
    """For each row, the window in which its principal first had one of `rows`."""
    begin = np.full(len(log.pools), np.inf)
    np.minimum.at(begin, log.codes["principal"][rows], np.floor(log.time[rows] / period))
    return np.asarray(begin[log.codes["principal"]])


def _rate(hits: Ints, windows: Ints) -> float:
    return (len(np.unique(hits)) + 0.5) / (len(np.unique(windows)) + 1)


def _rate_of_new(log: Log, rows: Flags, field: str, period: float) -> float:
    """Share of principal-windows with a new value, without each principal's first window."""
    value = log.codes[field]
    rows = rows & (value >= 0)
    pair = np.where(rows, log.codes["principal"] * (len(log.names[field]) + 1) + value, -1)
    first = np.zeros(len(log), dtype=bool)
    first[np.unique(pair, return_index=True)[1]] = True
    later = rows & (np.floor(log.time / period) > _begin(log, period, rows))
    windows = windows_of(log, period)
    return _rate(windows[later & first], windows[later])


def _rate_of_unknown(log: Log, period: float) -> float:
    """Share of principal-windows whose principal is unknown."""
    unknown = np.asarray([name.startswith(UNKNOWN) for name in log.names["principal"].values], dtype=bool)
    windows = windows_of(log, period)
    return _rate(windows[unknown[log.codes["principal"]]], windows)


def _rate_of_newcomers(log: Log, rows: Flags, period: float) -> float:
    """Share of principal-windows that are a principal's first, in the baseline's later half."""
    window = np.floor(log.time / period)
    late = rows & (window > (window[0] + window[-1]) / 2)
    windows = windows_of(log, period)
    return _rate(windows[late & (window == _begin(log, period, rows))], windows[late])


def active(log: Log, period: float) -> Ints:
    """The windows in which any principal was active."""
    return np.unique(np.floor(log.time / period).astype(np.int64))


def _gaps(log: Log, period: float) -> list[float]:
    """Lengths of absences, in active windows of the pool. Very many lengths are reduced to quantiles."""
    keys = np.unique(windows_of(log, period))
    who, window = keys % len(log.pools), np.searchsorted(active(log, period), keys // len(log.pools))
    order = np.lexsort((window, who))
    gaps = np.diff(window[order])[np.diff(who[order]) == 0] - 1
    if len(gaps) > _GAPS:
        gaps = np.quantile(gaps, (np.arange(_GAPS) + 0.5) / _GAPS, method="nearest")
    return [float(gap) for gap in np.sort(gaps)]


def _volumes(log: Log, period: float) -> tuple[Floats, Floats]:
    """log(1 + distinct resources) of each principal-window, and log(1 + bytes) of those that have some."""
    windows, size = windows_of(log, period), max(len(log.names["resource"]), 1)
    keys, count = np.unique(np.unique(windows * size + log.codes["resource"]) // size, return_counts=True)
    total = counted(np.searchsorted(keys, windows), len(keys), log.bytes)
    return np.log1p(count), np.log1p(total[total > 0])


def _spread(values: Floats) -> tuple[float, float] | None:
    """Median, and robust standard deviation (from the median absolute deviation) of at least 1/3."""
    if not len(values):
        return None
    middle = float(np.median(values))
    return middle, max(1.4826 * float(np.median(np.abs(values - middle))), 1 / 3)


def hours_of(log: Log) -> Floats:
    """In how many principal-days each hour of day (UTC) saw activity."""
    hour = np.floor(log.time * HOURS).astype(np.int64)
    keys = np.unique(hour * max(len(log.pools), 1) + log.codes["principal"])
    return counted((keys // max(len(log.pools), 1)) % HOURS, HOURS)


def _first_touch_rates(log: Log) -> dict[str, float]:
    first = np.zeros(len(log), dtype=bool)
    first[np.unique(log.codes["resource"], return_index=True)[1]] = True
    first &= np.floor(log.time) > np.floor(log.time[0])
    everywhere = (first.sum() + 1) / (len(log) + 2)
    result = {ALL: float(everywhere)}
    names, codes = log.names["action"], log.codes["action"]
    all_, new = (counted(codes[rows & (codes >= 0)], len(names)) for rows in (True, first))
    rates = (new + 2 * everywhere) / (all_ + 2)
    often = np.argsort(-all_, kind="stable")[:ACTIONS]
    return result | {names.values[code]: float(rates[code]) for code in np.sort(often)}
