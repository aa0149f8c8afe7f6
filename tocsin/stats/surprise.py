"""How much better an intruder explains an access than its principal's own past does.

For an access of principal p to resource r the surprise is log(1 + Q(r) / P(r | p)), in nats. Q is the
distribution of an intruder, who picks popular resources. P is the distribution of the principal: its own
decayed history, in which the last days have more weight (a cache; Kuhn and De Mori 1990), discounted in
favor of resources that it never touched (Witten and Bell 1991; absolute discounting, Ney and Essen 1991).
The discounted share goes to three groups of resources: those touched recently, those first touched recently
(Kneser and Ney 1995), and those that occur together with the other resources of the day or, for a single
access, with the principal's own resources (item-to-item collaborative filtering, Linden et al. 2003).
With even prior odds the surprise is the negative log of the probability that the access is the principal's.

Cost: memory and time grow linearly with the touches, the accesses, the principals and the resources; no array has both
principals and resources, or resources and resources. Time is also bounded by `WORK`: co-occurrence compares each access
with the days of the resources beside it. If these are more than `WORK` in total, only the newest days are compared.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Discount: the part of each distinct resource's count that goes to resources never touched.
DISCOUNT = 0.6
#: Share of an intruder's accesses that go to resources which no principal touched before.
FIRST_TOUCH = 0.002
#: Weights of the groups of untouched resources: touched recently, first touched recently, co-occurring.
LATE, FIRST, COMPANY = 0.3, 0.2, 0.5
#: Half-life of a touch in the recent history, in days.
LATELY = 30.0
#: Half-life of a touch in the principal's current activity, in days, and the weight of this activity.
NOW, AT_NOW = 7.0, 0.3
#: Weight of the long-term popularity, in recent touches.
PRIOR = 5.0
#: Number of the principal's most touched resources with which a single access is compared.
OWN = 50
#: Maximum number of comparisons of resources with days. Above it, the oldest days are left out.
WORK = 2e9


def counted(codes: Ints, size: int, weight: Floats | None = None) -> Floats:
    """How often, or with what total weight, each code below `size` occurs."""
    return np.bincount(codes, weight, size).astype(np.float64)


@dataclass(frozen=True)
class Touches:
    """Who touched what on which day: a row for each principal, resource and day, oldest first.

    `time` is in days; `principal` and `resource` are codes from 0; `pool` holds the pool of each
    principal (human, service, …). The recent history of a principal contains only its own pool.
    """

    time: Floats
    principal: Ints
    resource: Ints
    pool: Ints
    resources: int

    @property
    def pair(self) -> Ints:
        """One code for principal and resource."""
        return self.principal * self.resources + self.resource

    @functools.cached_property
    def first(self) -> npt.NDArray[np.bool_]:
        """Whether a row is its principal's first touch of the resource, and not on its first day."""
        flags = np.zeros(len(self.time), dtype=bool)
        flags[np.unique(self.pair, return_index=True)[1]] = True
        begin = np.full(len(self.pool), np.inf)
        np.minimum.at(begin, self.principal, np.floor(self.time))
        return flags & (np.floor(self.time) > begin[self.principal])


def surprise(
    past: Touches,
    principal: Ints,
    resource: Ints,
    first_touch: Floats,
    now: float,
    half_life: float = 365.0,
) -> Floats:
    """The surprise of each access of a window, in nats, at least 0.

    Args:
        past: the touches before the window.
        principal: code of each access's principal in `past`; the accesses of one principal are one session.
        resource: code of each access's resource in `past`; each pair of principal and resource occurs once.
        first_touch: for each access, how often its action touches a resource that no principal touched before.
        now: start of the window, in days.
        half_life: days after which a touch has half its weight.
    """
    weight = 0.5 ** ((now - past.time) / half_life)
    popular = counted(past.resource, past.resources, weight)
    if popular.sum() <= 0 or not len(principal):
        return np.zeros(len(principal))
    popular /= popular.sum()
    habits = _Habits.of(past, principal, weight)
    pair, busy = principal * past.resources + resource, 0.5 ** ((now - past.time) / NOW)
    own, known = habits.share(pair, principal)
    own = (1 - AT_NOW) * own + AT_NOW * _Habits.of(past, principal, busy).share(pair, principal)[0]
    total, spread = habits.total[principal], DISCOUNT * habits.distinct[principal] + 0.5
    new = spread / (total + spread)
    seen = popular[resource] > 0
    elsewhere = _lately(past, habits, popular, principal, resource, now)
    elsewhere += COMPANY * _company(past, weight, habits, popular, principal, resource)
    usual = (1 - new) * own + new * popular[resource]
    unusual = new * np.where(seen, (1 - first_touch) * elsewhere, first_touch)
    intruder = np.where(seen, (1 - FIRST_TOUCH) * popular[resource], FIRST_TOUCH)
    return np.asarray(np.log1p(intruder / np.maximum(np.where(known, usual, unusual), 1e-9)))


@dataclass(frozen=True)
class _Habits:
    """The history of the principals of the window."""

    pair: Ints  # every pair that was touched, sorted
    principal: Ints  # the principal of each pair
    resource: Ints  # the resource of each pair
    touched: Floats  # the decayed touches of each pair
    total: Floats  # decayed touches of each principal
    distinct: Floats  # resources that each principal touched

    @classmethod
    def of(cls, past: Touches, principal: Ints, weight: Floats) -> _Habits:
        judged = np.zeros(len(past.pool), dtype=bool)
        judged[principal] = True
        mine = judged[past.principal]
        pair, place = np.unique(past.pair[mine], return_inverse=True)
        touched = counted(place, len(pair), weight[mine])
        who, count = pair // past.resources, len(past.pool)
        return cls(
            pair,
            who,
            pair % past.resources,
            touched,
            counted(who, count, touched),
            counted(who, count),
        )

    def share(self, pair: Ints, principal: Ints) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """The share of each pair in its principal's touches, and whether it was ever touched."""
        if not len(self.pair):
            return np.zeros(len(pair)), np.zeros(len(pair), dtype=bool)
        place = np.minimum(np.searchsorted(self.pair, pair), len(self.pair) - 1)
        known = self.pair[place] == pair
        return known * self.touched[place] / np.maximum(self.total[principal], 1e-12), known

    def untouched(self, distribution: Floats) -> Floats:
        """The mass of a distribution over resources that each principal never touched."""
        touched = counted(self.principal, len(self.total), distribution[self.resource])
        return np.clip(1 - touched, 1e-9, 1)


def _lately(
    past: Touches, habits: _Habits, popular: Floats, principal: Ints, resource: Ints, now: float
) -> Floats:
    """Probability of an untouched resource, from the recent touches of its principal's pool."""
    result = np.zeros(len(principal))
    left, recent = habits.untouched(popular), 0.5 ** ((now - past.time) / LATELY)
    pools = past.pool[past.principal]
    for pool in np.unique(past.pool[principal]):
        here = past.pool[principal] == pool
        who, weight = principal[here], recent * (pools == pool)
        for share, part in ((LATE, weight), (FIRST, weight * past.first)):
            counts = counted(past.resource, past.resources, part) + PRIOR * popular
            counts /= counts.sum()
            result[here] += share * left[who] * counts[resource[here]] / habits.untouched(counts)[who]
    return result


def _company(
    past: Touches, weight: Floats, habits: _Habits, popular: Floats, principal: Ints, resource: Ints
) -> Floats:
    """Probability of a resource, given the other resources of its session or the principal's own resources."""
    result = popular[resource]
    groups = list(_groups(habits, principal, resource))
    if not groups:
        return result
    asked = np.zeros(past.resources, dtype=bool)
    asked[resource] = True
    for others, _, _ in groups:
        asked[others] = True
    frequent = counted(past.resource, past.resources)
    work = sum(float(frequent[others].sum()) for others, _, _ in groups)
    days = _Days.of(past, weight, asked, int(len(past.time) * max(0.0, 1 - WORK / max(work, 1.0))))
    scratch = np.zeros(days.columns)
    for others, amount, here in groups:
        wanted = resource[here]
        near, of = days.near(others, amount, wanted, popular, scratch)
        result[here] = np.where(of > 0, near / np.maximum(of, 1e-12), result[here])
    return result


def _groups(habits: _Habits, principal: Ints, resource: Ints) -> Iterator[tuple[Ints, Floats, Ints]]:
    """By session: the resources with which its accesses are compared, their amounts, and the rows of the accesses."""
    order = np.argsort(principal, kind="stable")
    who, begin = np.unique(principal[order], return_index=True)
    first, last = (np.searchsorted(habits.principal, who, side=side) for side in ("left", "right"))
    for at, here in enumerate(np.split(order, begin[1:])):
        if len(here) > 1:
            yield resource[here], np.ones(len(here)), here
        elif last[at] > first[at]:
            own = np.arange(first[at], last[at])
            own = own[np.argsort(-habits.touched[own], kind="stable")[:OWN]]
            yield habits.resource[own], habits.touched[own], here


@dataclass(frozen=True)
class _Days:
    """On which days of which principals each resource was touched: a sparse matrix, row by row."""

    begin: Ints  # by resource: its first entry; one more at the end
    column: Ints  # by entry: the day of a principal
    root: Floats  # by entry: root of the touch's weight
    total: Floats  # by resource: weight of all touches of other resources on its days
    square: Floats  # by resource: weight of its own touches
    columns: int

    @classmethod
    def of(cls, past: Touches, weight: Floats, asked: npt.NDArray[np.bool_], start: int) -> _Days:
        """The days of the asked resources, from the touch `start` on."""
        what, weight = past.resource[start:], weight[start:]
        day = np.floor(past.time[start:]).astype(np.int64) * len(past.pool) + past.principal[start:]
        day = np.unique(day, return_inverse=True)[1]
        others = np.bincount(day)[day] - 1.0
        rows = np.flatnonzero(asked[what])
        rows = rows[np.argsort(what[rows], kind="stable")]
        number = past.resources
        return cls(
            np.searchsorted(what[rows], np.arange(number + 1)),
            day[rows],
            np.sqrt(weight[rows]),
            counted(what, number, weight * others),
            counted(what, number, weight),
            int(day.max(initial=-1)) + 1,
        )

    def near(
        self, others: Ints, amount: Floats, wanted: Ints, popular: Floats, scratch: Floats
    ) -> tuple[Floats, Floats]:
        """For each wanted resource, its probability beside the others, times their amount, and that amount.

        Args:
            others: different resources that stand beside the wanted ones.
            amount: how much each of them counts.
            wanted: resources; one that is among the others is not compared with itself.
            popular: the probability of each resource beside one that never had another beside it.
            scratch: zeros, one for each column; they are zeros again afterwards.
        """
        alone = self.total[others] <= 0
        share = np.where(alone, 0.0, amount / np.maximum(self.total[others], 1e-12))
        rows, place = self._entries(others)
        np.add.at(scratch, self.column[rows], share[place] * self.root[rows])
        found, at = self._entries(wanted)
        near = counted(at, len(wanted), self.root[found] * scratch[self.column[found]])
        scratch[self.column[rows]] = 0.0
        order = np.argsort(others)
        same = order[np.minimum(np.searchsorted(others[order], wanted), len(others) - 1)]
        itself = others[same] == wanted
        near -= np.where(itself, share[same] * self.square[wanted], 0.0)
        rest = (amount * alone).sum() - np.where(itself, amount[same] * alone[same], 0.0)
        return np.maximum(near, 0.0) + rest * popular[wanted], amount.sum() - np.where(
            itself, amount[same], 0.0
        )

    def _entries(self, resources: Ints) -> tuple[Ints, Ints]:
        """The entries of these resources, and the place of each entry's resource."""
        count = self.begin[resources + 1] - self.begin[resources]
        place = np.repeat(np.arange(len(resources)), count)
        within = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
        return self.begin[resources][place] + within, place
