"""Densities over the hours of the day, as a circle."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

HOURS = 24
#: Von Mises concentration: a kernel whose standard deviation is about an hour and a half.
CONCENTRATION = 6.5


def hour_density(counts: Floats, concentration: float = CONCENTRATION) -> Floats:
    """Kernel density of the hour of day, with a von Mises kernel (Mardia and Jupp 2000, §12.4).

    Args:
        counts: the count of each of the 24 hours, in the last axis.
        concentration: of the kernel; a greater value makes the kernel narrower.

    Returns:
        Probabilities of the 24 hours in the same shape, each row summing to 1; 1/24 in rows without counts.
    """
    total = counts.sum(-1, keepdims=True)
    even = np.full_like(counts, 1 / HOURS)
    return np.where(total > 0, (counts @ _circle(concentration)) / np.maximum(total, 1e-12), even)


@functools.cache
def _circle(concentration: float) -> Floats:
    """The kernel of each hour, around the circle: 24 by 24 numbers."""
    angle = 2 * np.pi * np.arange(HOURS) / HOURS
    kernel = np.exp(concentration * (np.cos(angle) - 1))
    kernel /= kernel.sum()
    circle: Floats = kernel[(np.arange(HOURS)[:, None] - np.arange(HOURS)[None, :]) % HOURS]
    return circle


def shrunk(own: Floats, team: Floats, strength: float) -> Floats:
    """The density of `own` counts, shrunk to the `team`'s density with the weight of `strength` observations."""
    total: Floats = own.sum(-1, keepdims=True)
    return (total * hour_density(own) + strength * team) / (total + strength)
