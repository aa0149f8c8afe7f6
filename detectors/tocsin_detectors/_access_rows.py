"""The rows of the access stream that the detector reads, and the part of them that a baseline stores."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

import polars as pl

from tocsin.contract.streams import TIME
from tocsin_detectors._access_kinds import changes, creates, serious

#: Maximum number of rows in a baseline. The newest rows are stored.
ROWS = 200_000
#: Different resources of one principal on one day from which a baseline treats them as a flood.
FLOOD = 1_000
#: A principal with at least this number of such days floods by habit: a scan of all resources, for example.
HABIT = 3
#: The columns that are read from the access stream.
COLUMNS = (
    TIME,
    "user.id",
    "tocsin.principal.type",
    "event.action",
    "event.outcome",
    "error.code",
    "source.ip",
    "user_agent.original",
    "tocsin.resource.type",
    "tocsin.resource.id",
    "tocsin.resource.version",
    "http.response.bytes",
    "event.provider",
    "service.name",
    "url.path",
)
_KEYS = ("principal", "pool", "resource", "action", "address", "agent")
_DAY = pl.col("time").dt.truncate("1d")
#: Names that only AWS can give: of its services, and of the roles that its services use.
_SERVICE = r"^[a-z0-9.-]+\.amazonaws\.com$|^arn:[a-z-]+:iam::\d+:role/aws-service-role/"
#: The parts of an ARN before the name of the resource.
_ARN = r"^arn:[^:]*:[^:]*:[^:]*:[^:]*:(?:[a-z-]+[:/])?"
_REFUSAL = "(?i)denied|unauthorized|forbidden|not_?authorized"
#: Prefix of the name of a principal that the source does not identify. The address follows.
UNKNOWN = "unknown@"


def named(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of the access stream under short column names.

    Columns: time, principal (`UNKNOWN` and the address if the source does not identify it), pool (the
    principal's type, or empty), resource (its id, or without an id its type in brackets), version, type,
    action, address, agent, bytes, failed, unknown, serious (the kind of a serious action, see `SERIOUS`),
    changed (whether the principal changed the resource as its owner does; false for what failed), provider, refused
    (whether it failed for lack of rights), made (whether it creates the resource that it names, see `creates`), aws
    (whether it is of a service of AWS itself: its name and the path of its role are reserved, nobody else can have them).
    """
    rows = rows.select(
        time=pl.col(TIME),
        principal=pl.coalesce("user.id", pl.lit(UNKNOWN) + pl.col("source.ip"), pl.lit(UNKNOWN)),
        pool=pl.col("tocsin.principal.type").fill_null(""),
        resource=pl.coalesce(
            "tocsin.resource.id",
            pl.format("({})", pl.coalesce("tocsin.resource.type", "event.provider", "service.name")),
            pl.lit("()"),
        ),
        version=pl.col("tocsin.resource.version"),
        # MLflow's route that makes a user an administrator; its other updates of users are new passwords
        type=pl.when(pl.col("url.path").str.ends_with("/users/update-admin"))
        .then(pl.lit("permission"))
        .otherwise("tocsin.resource.type"),
        action=pl.col("event.action"),
        address=pl.col("source.ip"),
        agent=pl.col("user_agent.original"),
        bytes=pl.col("http.response.bytes").fill_null(0).clip(0).cast(pl.Float64),
        failed=pl.col("event.outcome").eq("failure").fill_null(value=False),
        unknown=pl.col("user.id").is_null(),
        provider=pl.coalesce("event.provider", "service.name"),
        refused=pl.col("error.code").str.contains(_REFUSAL).fill_null(value=False),
    )
    return _flagged(rows)


def _flagged(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with what the names of their actions and principals say."""
    pairs = rows.select("action", "type").unique().filter(pl.col("action").is_not_null())
    said = [(a, t, serious(a, t), changes(a, t), creates(a)) for a, t in pairs.iter_rows()]
    flags = dict.fromkeys(("changed", "made"), pl.Boolean)
    schema = {"action": pl.String, "type": pl.String, "serious": pl.String, **flags}
    told = pl.DataFrame(said, schema=schema, orient="row")
    rows = rows.join(told, on=["action", "type"], how="left", nulls_equal=True, maintain_order="left")
    done = {flag: ~pl.col("failed") & pl.col(flag).fill_null(value=False) for flag in flags}
    reserved = pl.col("principal").str.contains(_SERVICE)
    aws = (reserved & pl.col("provider").str.ends_with(".amazonaws.com")).fill_null(value=False)
    return rows.with_columns(**done, aws=aws)


def with_new(rows: pl.DataFrame, within: Collection[str] = ()) -> pl.DataFrame:
    """The rows with `mine`: whether the principal itself created the resource in the window.

    Args:
        rows: from `named`.
        within: the column of the window, if the rows are of several.
    """
    keys = [*within, "principal", "bare"]
    bare = pl.col("resource").str.replace(_ARN, "")
    made = rows.filter("made").select(*within, "principal", bare=bare, mine=pl.lit(value=True)).unique()
    if made.is_empty():
        return rows.with_columns(mine=pl.lit(value=False))
    rows = rows.with_columns(bare=bare).join(made, on=keys, how="left", maintain_order="left")
    return rows.with_columns(pl.col("mine").fill_null(value=False)).drop("bare")


def compact(rows: pl.DataFrame, bin: timedelta) -> pl.DataFrame:
    """Rows from `named`, aggregated by `bin` of time and by keys, oldest first."""
    return (
        rows.group_by(pl.col("time").dt.truncate(bin).alias("bin"), *_KEYS)
        .agg(
            pl.col("time").min(),
            pl.len().cast(pl.Int64).alias("count"),
            pl.col("bytes").sum(),
            pl.col("serious").filter(~pl.col("failed")).max(),
            pl.col("changed").any(),
        )
        .sort("time", *_KEYS)
        .select("time", *_KEYS, "count", "bytes", "serious", "changed")
    )


def remembered(
    rows: pl.DataFrame, known: Collection[str] = (), scanners: Collection[str] = ()
) -> pl.DataFrame:
    """The rows from `compact` that a baseline keeps: all of them, unless somebody floods the log.

    A flood must neither push the history of others out of memory nor make what they use seem rare. Therefore, of a
    principal that touches more than `FLOOD` resources on a day and has fewer than `HABIT` such days, the first `FLOOD` of
    that day are kept; of the principals that occur on one day only and are not `known`, the first `FLOOD` of that day. If
    more than `ROWS` rows are left, the newest `FLOOD` of each principal and day are kept, and of these the newest `ROWS`.

    Args:
        rows: from `compact`.
        known: principals that an earlier part of the log contains.
        scanners: principals that touched more than `FLOOD` resources a day by habit in that part.
    """
    if len(rows) <= FLOOD:
        return rows
    rows = rows.with_columns(day=_DAY)
    here = ["principal", "day"]
    rows = rows.with_columns(number=pl.col("resource").n_unique().over(here))
    if rows["number"].max() > FLOOD:  # type: ignore[operator]
        first = rows.filter(pl.col("number") > FLOOD).unique(
            [*here, "resource"], keep="first", maintain_order=True
        )
        first = first.with_columns(place=pl.int_range(pl.len()).over(here))
        days = pl.col("day").n_unique().over("principal")
        habit = (days >= HABIT) | pl.col("principal").is_in(list(scanners))
        extra = first.filter(pl.col("place") >= FLOOD, ~habit).select(*here, "resource")
        rows = rows.join(extra, on=[*here, "resource"], how="anti", maintain_order="left")
    once = rows.group_by("principal", maintain_order=True).agg(
        pl.col("day").first(), days=pl.col("day").n_unique()
    )
    once = once.filter(pl.col("days") == 1, ~pl.col("principal").is_in(list(known)))
    extra = once.filter(pl.int_range(pl.len()).over("day") >= FLOOD).select("principal")
    rows = rows.join(extra, on="principal", how="anti", maintain_order="left")
    if len(rows) > ROWS:
        rows = rows.filter(pl.int_range(pl.len()).reverse().over(here) < FLOOD).tail(ROWS)
    return rows.drop("day", "number")
