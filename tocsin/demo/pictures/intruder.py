"""The accesses of a stolen account in one night, compared with the usual hours of the account."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tocsin.contract.findings import Subject
from tocsin.contract.query import Condition
from tocsin.contract.streams import TIME
from tocsin.report.document import Picture
from tocsin.report.pictures import canvas
from tocsin.store.protocol import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ACTION, _RESOURCE, _ADDRESS = "event.action", "tocsin.resource.id", "source.ip"
_COLORS = (canvas.RED, canvas.BLUE, canvas.GREEN, canvas.PURPLE, canvas.ORANGE)
_SIGNS = "oXsD^"
_RESOURCES = 12  # further resources share the last row


def draw(store: Store, victim: Subject, since: datetime, night: tuple[datetime, datetime]) -> Picture | None:
    """The accesses of a night, and the hours of the account's accesses from `since` to that night."""
    where = [Condition("user.id", "==", victim.id)]
    columns = [TIME, _ACTION, _RESOURCE, _ADDRESS, "user_agent.original"]
    path = store.scan("access", *night, columns, where).sort(TIME).collect()
    usual = store.scan("access", since, night[0], [TIME], where).collect()
    if path.is_empty():
        return None
    with canvas.figure(11, 4.2) as figure:
        left, right = figure.subplots(1, 2, width_ratios=[3, 2])
        _path(left, path)
        _hours(right, usual, path)
        return canvas.picture(figure, "intruder", _words(path, usual, victim.id), _caption(path))


def _caption(path: pl.DataFrame) -> str:
    places = ", ".join(path[_ADDRESS].drop_nulls().unique(maintain_order=True).head(5))
    programs = ", ".join(path["user_agent.original"].drop_nulls().unique(maintain_order=True).head(3))
    return (
        f"Left: each access of that night, from {places or 'no known address'} with "
        f"{programs or 'no named program'}. Right: the share of the account's accesses by hour (UTC)."
    )


def _words(path: pl.DataFrame, usual: pl.DataFrame, victim: str) -> str:
    counted = path.group_by(_ACTION).len().sort("len", descending=True)
    actions = ", ".join(f"{count} {action}" for action, count in counted.iter_rows())
    hours = sorted(usual[TIME].dt.hour().to_list())
    when = f" Usually it is active from {hours[0]} to {hours[-1]} h." if hours else ""
    return (
        f"{victim} made {len(path)} accesses to {path[_RESOURCE].n_unique()} resources from "
        f"{path[TIME][0]:%H:%M} to {path[TIME][-1]:%H:%M} UTC: {actions}.{when}"
    )


def _path(axes: Axes, path: pl.DataFrame) -> None:
    from matplotlib.dates import AutoDateLocator, DateFormatter

    names = path[_RESOURCE].fill_null("(the registry)").to_list()
    order = list(dict.fromkeys(names))
    lines = {name: min(place, _RESOURCES) for place, name in enumerate(order)}
    labels = [canvas.label(name) for name in order[:_RESOURCES]]
    if len(order) > _RESOURCES:
        labels.append(f"{len(order) - _RESOURCES} more")
    times = np.array([canvas.day(time) for time in path[TIME]])
    places = np.array([lines[name] for name in names], dtype=np.float64)
    axes.plot(times, places, color=canvas.SOFT, linewidth=0.8, alpha=0.7)
    actions = path[_ACTION].fill_null("(none)")
    for action, color, sign in zip(_ordered(actions), _COLORS, _SIGNS, strict=False):
        own = (actions == action).to_numpy()
        axes.plot(times[own], places[own], sign, color=color, markersize=7, linestyle="none",
                  markeredgecolor=canvas.PAPER, label=f"{action} ({own.sum()})")  # fmt: skip
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(AutoDateLocator(tz=UTC, maxticks=8))  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M", tz=UTC))  # type: ignore[no-untyped-call]
    axes.set_xlabel(f"time of day, {path[TIME][0]:%d %B} (UTC)")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    axes.set_title("Accesses to the registry")


def _ordered(actions: pl.Series) -> list[str]:
    return actions.value_counts(sort=True)[_ACTION].to_list()


def _hours(axes: Axes, usual: pl.DataFrame, path: pl.DataFrame) -> None:
    for rows, name, color in ((usual, "usual", canvas.BLUE), (path, "that night", canvas.RED)):
        counted = np.bincount(rows[TIME].dt.hour().to_numpy(), minlength=24)
        hatch = "" if color == canvas.BLUE else "///"
        axes.bar(np.arange(24) + 0.5, counted / max(counted.sum(), 1), 0.9, color=color, alpha=0.8,
                 hatch=hatch, edgecolor=canvas.PAPER, linewidth=0, label=name)  # fmt: skip
    axes.set_xlim(0, 24)
    axes.set_xticks([0, 6, 12, 18, 24])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("hour of the day (UTC)")
    axes.legend(loc="upper right")
    axes.set_title("Hours of the account")
