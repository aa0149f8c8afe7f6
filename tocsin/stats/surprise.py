"""How much better an intruder explains an access than its principal's own past does.

For an access of principal p to resource r the surprise is log(1 + Q(r) / P(r | p)), in nats. Q is the
distribution of an intruder, who picks popular resources. P is the distribution of the principal: its own
decayed history, in which the last days have more weight (a cache; Kuhn and De Mori 1990), discounted in
favor of resources that it never touched (Witten and Bell 1991; absolute discounting, Ney and Essen 1991).
The discounted share goes to three groups of resources: those touched recently, those first touched recently
(Kneser and Ney 1995), and those that occur together with the other resources of the day or, for a single
access, with the principal's own resources (item-to-item collaborative filtering, Linden et al. 2003).
With even prior odds the surprise is the negative log of the probability that the access is the principal's.
"""

from __future__ import annotations

import functools
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
    groups: list[tuple[Ints, Floats, Ints]] = []
    for one in np.unique(principal):
        here = np.flatnonzero(principal == one)
        if len(here) > 1:
            groups.append((resource[here], np.ones(len(here)), here))
        elif habits.distinct[one]:
            own = np.flatnonzero(habits.principal == one)
            own = own[np.argsort(-habits.touched[own], kind="stable")[:OWN]]
            groups.append((habits.resource[own], habits.touched[own], here))
    result = popular[resource]
    if not groups:
        return result
    asked = np.unique(np.concatenate([resource, *(others for others, _, _ in groups)]))
    beside = _beside(past, weight, asked, popular)
    for others, amount, here in groups:
        near = beside[np.searchsorted(asked, others)][:, np.searchsorted(asked, resource[here])]
        share = amount[:, None] * (others[:, None] != resource[here][None, :])
        total = share.sum(0)
        result[here] = np.where(total > 0, (near * share).sum(0) / np.maximum(total, 1e-12), result[here])
    return result


def _beside(past: Touches, weight: Floats, asked: Ints, popular: Floats) -> Floats:
    """Probability of each resource (columns) on a day on which a principal touches another resource (rows)."""
    from scipy.sparse import csr_array

    day = np.floor(past.time).astype(np.int64) * len(past.pool) + past.principal
    day = np.unique(day, return_inverse=True)[1]
    shape = (past.resources, int(day.max()) + 1)
    days = csr_array((np.sqrt(weight), (past.resource, day)), shape=shape)[asked]
    others = np.bincount(day)[day] - 1.0
    total = counted(past.resource, past.resources, weight * others)[asked][:, None]
    near = (days @ days.T).toarray() / np.maximum(total, 1e-12)
    return np.where(total > 0, near, popular[asked][None, :])
