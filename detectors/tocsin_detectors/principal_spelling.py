"""A principal's name appears in a spelling that looks like the name of another principal."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from tocsin import COUNT, Condition, Detector, Family, NoParams, Requires, Score, Stability, Subject, Window
from tocsin.contract.findings import Json
from tocsin.words import count, short
from tocsin_detectors._spelling import is_disguised, pooled

_PRINCIPAL = "user.id"
_STREAMS = ("access", "inference")
_NAMED = 20  # spellings in the evidence
#: Scores: a spelling that the eye cannot tell apart is severity `high`; other case or spaces are `low`.
_DISGUISED, _OTHER = 2.5, 1.0


class PrincipalSpelling(Detector[NoParams]):
    """A principal has a new name that looks like the name of another principal.

    What it sees
        Names in the streams `access` and `inference` that did not occur in the four weeks before, and that have
        the same canonical form as another name. Such names differ in case, in spaces, in letters of another
        alphabet that look alike, in full-width letters or in zero-width characters.
    Method
        Names are compared by their canonical form: NFKC, case folding, prototypes of confusable characters
        (Unicode Technical Standard 39) and no invisible characters. This rule reports the new spelling. If a person
        cannot see the difference between the names, the severity is `high`. If the names differ only in case or
        spaces, the severity is `low`. Other detectors add up the volumes of all spellings of a name, and a new
        spelling has no history. The cost grows with the number of different names.
    Blind spots
        Names that differ in one visible character (mallory and mallery), and ASCII characters that look alike
        (l and 1). A spelling that occurred in the four weeks before.
    False alarms
        A gateway or identity provider that changes the case of names. Two people whose names differ only in
        letters of two alphabets that look the same.
    Respond
        Ask the owner of the known name whether the new spelling is theirs. If it is not, revoke the key or session
        of the new spelling, and read its accesses and queries.
    """

    id = "principal_spelling"
    requires = Requires(*_STREAMS, window="1d", history="28d")
    atlas = ("AML.T0012", "AML.T0015")
    playbook = "registry-intrusion"
    family = Family.ACCESS
    stability = Stability.BETA
    threshold = 1.0

    def score(self, window: Window) -> Iterator[Score]:
        now = _names(window)
        before = _names(window.before(self.requires.history or window.length))
        shared = now.filter(pl.col("pool").is_in(_shared(now, before)))
        known = {name for (name,) in before.select("name").iter_rows()}
        owners = _owners(before, now)
        for (pool,), rows in sorted(shared.partition_by("pool", as_dict=True).items()):
            owner = owners[pool]
            new = [name for name in rows["name"].sort().to_list() if name not in known and name != owner]
            if new:
                yield _score(owner, new, int(rows.filter(pl.col("name").is_in(new))["count"].sum()))


def _names(window: Window) -> pl.DataFrame:
    """The names of all streams with their number of events and their pool."""
    named = [Condition(_PRINCIPAL, "not_null")]
    found = pl.concat([window.summary(stream, [_PRINCIPAL], [COUNT], named) for stream in _STREAMS])
    found = found.group_by(pl.col(_PRINCIPAL).alias("name")).agg(pl.col("count").sum())
    return found.with_columns(pool=pooled(found["name"]))


def _shared(*frames: pl.DataFrame) -> pl.Series:
    """The pools that more than one name has."""
    names = pl.concat(frames).select("name", "pool").unique()
    return names.group_by("pool").len().filter(pl.col("len") > 1)["pool"].implode()


def _owners(before: pl.DataFrame, now: pl.DataFrame) -> dict[str, str]:
    """The name that a pool belongs to: its commonest name of the time before, otherwise of the window."""
    ranked = pl.concat([f.sort("count", "name", descending=[True, False]) for f in (before, now)])
    return dict(ranked.unique("pool", keep="first", maintain_order=True).select("pool", "name").iter_rows())


def _score(owner: str, new: list[str], events: int) -> Score:
    disguised = [name for name in (owner, *new) if is_disguised(name)]
    how = "looks like it" if disguised else "differs in case or spaces"
    names = f"a name that {how}" if len(new) == 1 else f"{count(len(new), 'name')} of which each {how}"
    reason = f"{short(owner)} has a double: {names} made {count(events, 'event')}"
    evidence: dict[str, Json] = {
        "events": events,
        "spellings": len(new),
        "new": [{"name": name, "code points": _code_points(name)} for name in new[:_NAMED]],
    }
    return Score(Subject("principal", owner), _DISGUISED if disguised else _OTHER, reason, evidence)


def _code_points(name: str) -> str:
    """The characters that are not printable ASCII, as `U+200B`."""
    return " ".join(f"U+{ord(c):04X}" for c in name if not ("!" <= c <= "~"))
