"""Rules over sequences of accesses that are typical of an intruder and rare for an honest principal.

The rules are applied to the baseline as well. If a principal breaks a rule habitually, or if many principals
break it, further hits add no points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

import numpy as np
import polars as pl

from tocsin.clock import EPOCH
from tocsin.contract.frames import TIME_TYPE
from tocsin_detectors._access_kinds import KINDS, kinds
from tocsin_detectors._access_log import Log, day_of
from tocsin_detectors._access_rows import FLOOD

_HITS = pl.Schema(
    {
        "window": TIME_TYPE,
        "principal": pl.String(),
        "rule": pl.String(),
        "at": TIME_TYPE,
        "detail": pl.String(),
    }
)
#: Maximum time from a grant to its use, and from the first failure of a burst to the success.
SOON = timedelta(hours=1)
#: Minimum number of consecutive failures in a burst.
BURST = 5
#: Maximum age of the evaluation of a promoted resource.
VALID = timedelta(days=30)


def sorted_by_kind(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows from `named`, sorted by their values, with a flag for each kind of action."""
    of = {action: kinds(action) for action in rows["action"].drop_nulls().unique().to_list()}
    flags = {
        kind: pl.col("action").is_in([a for a in of if kind in of[a]]).fill_null(value=False)
        for kind in KINDS
    }
    # MLflow's logs name the permission itself as the resource: creating or updating a permission is a grant.
    changed = pl.col("action").is_in(["create", "update"]) & pl.col("type").eq("permission")
    flags["grant"] |= changed.fill_null(value=False)
    return rows.with_columns(**flags).sort("time", "principal", "resource", "action", "version", "address")


def hits(rows: pl.DataFrame) -> pl.DataFrame:
    """The broken rules: window, principal, rule, at and detail; one row for each window, principal and rule.

    Args:
        rows: from `sorted_by_kind`, with `mine` (from `with_new`), `window` (the start of the window that a row belongs to)
            and `fresh` (whether it is the principal's first access to the resource).
    """
    found = [
        rule(rows).select("window", "principal", pl.lit(name).alias("rule"), "at", "detail")
        for name, (needed, rule) in RULES.items()
        if not needed or rows[needed].any()
    ]
    if not found:
        return pl.DataFrame(schema=_HITS)
    keys = ["window", "principal", "rule"]
    return pl.concat(found).sort("at", "principal", "rule", "detail").unique(keys, maintain_order=True)


def recent_evaluations(past: Log, start: datetime) -> pl.DataFrame:
    """The evaluations before `start` that are valid for a promotion in the window that starts then."""
    recent = past.since(int(np.searchsorted(past.time, day_of(start - VALID))))
    values = past.names["action"].values
    codes = [code for code, action in enumerate(values) if "evaluate" in kinds(action)]
    part = recent.where(np.isin(recent.codes["action"], codes))
    resources = past.names["resource"].values
    times = [EPOCH + timedelta(days=time) for time in part.time.tolist()]
    return pl.DataFrame(
        {
            "time": times,
            "resource": [resources[code] for code in part.codes["resource"]],
            **{flag: [flag == "evaluate"] * len(part) for flag in (*KINDS, "failed")},
        },
        schema={"time": TIME_TYPE, "resource": pl.String, **dict.fromkeys((*KINDS, "failed"), pl.Boolean)},
    )


def _done(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    return rows.filter(pl.col(kind) & ~pl.col("failed"))


def _audit_disabled(rows: pl.DataFrame) -> pl.DataFrame:
    detail = pl.format("{} on {}", "action", "resource")
    return (
        _done(rows, "disable_audit")
        .filter(~pl.col("mine"))
        .select("window", "principal", at="time", detail=detail)
    )


def _grant_then_use(rows: pl.DataFrame) -> pl.DataFrame:
    """A first access to a resource soon after a grant that concerns the access.

    A grant concerns accesses to the resource, and by the principal, that it names. If the log does not name either,
    the grant concerns accesses by the principal that made the grant. Each access is compared with the latest grant only,
    so that the cost grows with the number of rows. Who sets up something new uses what it created: that is no use.
    """
    named = ~pl.col("resource").str.starts_with("(")
    grants = _done(rows, "grant").select("window", granted="time", by="principal", on="resource", named=named)
    uses = rows.filter(pl.col("fresh"), *(~pl.col(flag) for flag in ("grant", "failed", "mine", "aws"))).sort(
        "time"
    )
    uses = uses.with_columns(last=pl.col("principal").str.extract("/([^/]*)$"))
    detail = pl.format("first access to {}, soon after a grant by {}", "resource", "by")
    found = []
    for of, to in (("on", "resource"), ("on", "principal"), ("on", "last"), ("by", "principal")):
        given = grants.filter(pl.col("named") == (of == "on")).with_columns(key=of).sort("granted")
        soon = uses.with_columns(key=to).join_asof(
            given,
            left_on="time",
            right_on="granted",
            by=["window", "key"],
            tolerance=SOON,
            check_sortedness=False,
        )
        soon = soon.filter(pl.col("granted").is_not_null())
        found.append(soon.select("window", "principal", at="time", detail=detail))
    return pl.concat(found)


def _failures_then_success(rows: pl.DataFrame) -> pl.DataFrame:
    """Consecutive failures and then a success: of one principal, or from one address under any names."""
    found = []
    for who in ("principal", "address"):
        run = (~pl.col("failed")).cum_sum().shift(1, fill_value=0).over("window", who)
        group = ["window", who, "run"]
        first = pl.col("time").filter(pl.col("failed")).min().over(group)
        burst = rows.filter(pl.col(who).is_not_null()).with_columns(run=run)
        burst = burst.with_columns(failures=pl.col("failed").sum().over(group), first=first)
        burst = burst.filter(
            ~pl.col("failed"), pl.col("failures") >= BURST, pl.col("time") - pl.col("first") <= SOON
        )
        detail = pl.format("{} failures and then a success on {}", "failures", "resource")
        found.append(burst.select("window", "principal", at="time", detail=detail))
    return pl.concat(found)


def _delete_then_recreate(rows: pl.DataFrame) -> pl.DataFrame:
    keys = ["window", "principal", "resource"]
    deleted = _done(rows, "delete").group_by(keys).agg(pl.col("time").min().alias("deleted"))
    recreated = _done(rows, "create").join(deleted, on=keys).filter(pl.col("time") > pl.col("deleted"))
    detail = pl.format("{} was deleted and created again", "resource")
    return recreated.select("window", "principal", at="time", detail=detail)


def _promote_without_evaluate(rows: pl.DataFrame) -> pl.DataFrame:
    tests = _done(rows, "evaluate").select("resource", tested="time").sort("tested")
    promoted = (
        _done(rows, "promote")
        .sort("time")
        .join_asof(tests, left_on="time", right_on="tested", by="resource", check_sortedness=False)
    )
    unevaluated = pl.col("tested").is_null() | (pl.col("time") - pl.col("tested") > VALID)
    detail = pl.format("{} was promoted without an evaluation", "resource")
    return promoted.filter(unevaluated).select("window", "principal", at="time", detail=detail)


def _flood(rows: pl.DataFrame) -> pl.DataFrame:
    """Far more different resources, addresses, programs or actions in a window than anybody needs."""
    fields = ("resource", "address", "agent", "action")
    found = (
        rows.filter(pl.col("principal").is_not_null())
        .group_by("window", "principal")
        .agg(pl.col("time").min().alias("at"), *(pl.col(field).n_unique() for field in fields))
        .filter(pl.max_horizontal(fields) > FLOOD)
    )
    detail = pl.format("{} resources, {} addresses, {} programs, {} actions", *fields)
    return found.select("window", "principal", "at", detail=detail)


#: By name: the flag that at least one row must have (empty if none is needed), and the rule.
RULES: Mapping[str, tuple[str, Callable[[pl.DataFrame], pl.DataFrame]]] = MappingProxyType(
    {
        "audit_disabled": ("disable_audit", _audit_disabled),
        "grant_then_use": ("grant", _grant_then_use),
        "failures_then_success": ("failed", _failures_then_success),
        "delete_then_recreate": ("delete", _delete_then_recreate),
        "promote_without_evaluate": ("promote", _promote_without_evaluate),
        "flood": ("", _flood),
    }
)
