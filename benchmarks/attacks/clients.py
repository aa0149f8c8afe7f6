"""The people and programs that use an inference API honestly, and a month of their calls.

A behavior is a function `(target, rng, count) -> rows`, as an attack is.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from benchmarks.attacks.extraction import Behavior, Rng, Rows, Target, calls, real, spread


def alike(target: Target, rng: Rng) -> Behavior:
    """A client with one kind of customer: it draws from the 5 % of real rows nearest to one of them."""
    anchor = target.rows[rng.integers(len(target.rows))]
    distance = (((target.rows - anchor) / target.spread) ** 2).sum(axis=1)
    near = np.argsort(distance, kind="stable")[: max(len(distance) // 20, 20)]

    def draw(target: Target, rng: Rng, count: int) -> Rows:
        chosen: Rows = target.rows[rng.choice(near, count)]
        return chosen

    return draw


def edited(draw: Behavior, share: float) -> Behavior:
    """The same client asking what-if: `share` of its rows are an earlier one with one value replaced."""

    def ask(target: Target, rng: Rng, count: int) -> Rows:
        rows = draw(target, rng, count)
        for i in np.flatnonzero(rng.uniform(size=count) < share).tolist():
            if i:
                rows[i] = rows[rng.integers(max(0, i - 20), i)]
                column = rng.integers(rows.shape[1])
                rows[i, column] = target.rows[rng.integers(len(target.rows)), column]
        return rows

    return ask


def retried(draw: Behavior, share: float) -> Behavior:
    """The same client on a bad line: `share` of its rows repeat the one before."""

    def ask(target: Target, rng: Rng, count: int) -> Rows:
        rows = draw(target, rng, count)
        for i in np.flatnonzero(rng.uniform(size=count) < share).tolist():
            rows[i] = rows[max(i - 1, 0)]
        return rows

    return ask


def load_test(target: Target, rng: Rng, count: int) -> Rows:
    """One real row, again and again."""
    return np.repeat(real(target, rng, 1), count, axis=0)


def customer(target: Target, rng: Rng) -> Behavior:
    """A new client: its customers are of all kinds, or every second time of one; 30 % are what-ifs."""
    return edited(alike(target, rng) if rng.uniform() < 0.5 else real, 0.3)


def power_user(target: Target, rng: Rng) -> Behavior:
    """A new client who tries variations of a few customers."""
    return edited(alike(target, rng), rng.uniform(0.6, 0.95))


def month(target: Target, rng: Rng, days: int = 28, clients: int = 26, batch: int = 250) -> pl.DataFrame:
    """Calls of `clients` clients, a nightly batch, a retrying client, a power user, a weekly load test."""
    who: dict[str, tuple[Behavior, float]] = {
        f"client-{i:02d}": (customer(target, rng), rng.uniform(8, 24)) for i in range(clients)
    }
    who["batch"] = (real, batch)
    who["retrying"] = (retried(customer(target, rng), 0.5), 30)
    who["power"] = (power_user(target, rng), 50)
    who["load-test"] = (load_test, 300)
    frames = []
    for name, (ask, rate) in who.items():
        for day in range(0, days, 7 if name == "load-test" else 1):
            count = max(1, int(rng.poisson(rate)))
            frames.append(calls(target, name, ask(target, rng, count), spread(rng, day, count)))
    return pl.concat(frames)
