"""A dashboard as Grafana would draw it: every panel's queries sent and read, without Grafana."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.dashboards import frames, ranges, requests
from tests.dashboards.annotations import Event, events
from tests.dashboards.annotations import body as search_events
from tests.dashboards.cluster import Elasticsearch
from tests.dashboards.datasources import MIXED, PROMETHEUS, NotEmulated, Source, uid_of
from tests.dashboards.frames import Frame
from tests.dashboards.interpolation import Value, Values, built_in, references
from tests.dashboards.ranges import Range
from tests.dashboards.transformations import require, transformed
from tests.dashboards.variables import Option, resolved

Json = Mapping[str, Any]
#: Panels that ask nothing.
SILENT = ("row", "text", "dashlist", "news", "welcome", "alertlist", "annolist")


class Prometheus(Protocol):
    """What answers PromQL."""

    def frames(self, target: Json, of: Range, interval: ranges.Interval, values: Values) -> list[Frame]:
        """What a target shows."""
        ...


def panels(dashboard: Json) -> Iterator[Json]:
    """Every panel, those inside collapsed rows too; the rows themselves first."""
    for panel in dashboard.get("panels") or ():
        yield panel
        yield from panel.get("panels") or ()


def asking(dashboard: Json) -> list[Json]:
    """The panels that have queries."""
    return [panel for panel in panels(dashboard) if panel["type"] not in SILENT]


@dataclass(frozen=True)
class Emulator:
    """Grafana with its data sources, looking at a range of time."""

    cluster: Elasticsearch
    sources: Mapping[str, Source]
    range: Range
    prometheus: Prometheus | None = None
    asked: list[tuple[str, list[dict[str, Any]]]] = field(
        default_factory=list
    )  # index and bodies, of the last panel

    def variables(self, dashboard: Json, picks: Mapping[str, str] | None = None) -> dict[str, Value]:
        """The values of a dashboard's variables, by their own queries and the choices of `picks`."""
        return self.choices(dashboard, picks)[0]

    def choices(
        self, dashboard: Json, picks: Mapping[str, str] | None = None
    ) -> tuple[dict[str, Value], dict[str, list[Option]]]:
        """The same with the options that they were chosen from."""
        return resolved(dashboard, self.sources, self.cluster, self.range, picks)

    def show(self, panel: Json, values: Values, filters: Sequence[Json] = ()) -> list[Frame]:
        """What a panel shows, its transformations applied; a repeated one once for each value.

        Raises:
            QueryError: the cluster refused a query.
            UnknownFieldError: a transformation, override or link names a field that is not there.
            NotEmulated: it uses what is not emulated.
        """
        self.asked.clear()
        found = []
        for scope in self._repeated(panel, values):
            raw = self._ask(panel, scope, filters)
            shown = transformed(raw, panel.get("transformations") or ())
            _check_names(panel, shown)
            found += shown
        return found

    def annotate(self, annotation: Json, values: Values) -> list[Event]:
        """The events of an annotation.

        Raises:
            QueryError: the cluster refused its query.
        """
        source = self.sources[uid_of(annotation.get("datasource"))]
        body = search_events(annotation, source, self.range, values)
        return events(annotation, source, self.cluster.msearch([body], source.index)[0])

    def bodies(
        self, panel: Json, values: Values, filters: Sequence[Json] = ()
    ) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """What a panel asks of Elasticsearch: index pattern and bodies, one pair for each data source."""
        for scope in self._repeated(panel, values):
            for source, targets in self._by_source(panel):
                if isinstance(source, Source):
                    _, found = self._prepared(panel, source, targets, scope, filters)
                    yield source.index, found

    def _repeated(self, panel: Json, values: Values) -> list[Values]:
        name = panel.get("repeat")
        if not name:
            return [values]
        return [{**values, name: Value(value, text=value)} for value in values[name].values]

    def _ask(self, panel: Json, values: Values, filters: Sequence[Json]) -> list[Frame]:
        found: list[Frame] = []
        for source, targets in self._by_source(panel):
            of = self.range.of_panel(panel)
            if not isinstance(source, Source):
                interval = ranges.of_panel(panel, of)
                known = {**values, **built_in(of, interval)}
                found += [f for t in targets for f in source.frames(t, of, interval, known)]
                continue
            ready, bodies = self._prepared(panel, source, targets, values, filters)
            self.asked.append((source.index, bodies))
            answers = self.cluster.msearch(bodies, source.index)
            for target, answer in zip(ready, answers, strict=True):
                found += frames.frames(target, answer, source)
        return found

    def _prepared(
        self, panel: Json, source: Source, targets: Sequence[Json], values: Values, filters: Sequence[Json]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        of = self.range.of_panel(panel)
        interval = ranges.of_panel(panel, of)
        known = {**values, **built_in(of, interval)}
        ready = [requests.interpolated(target, known, filters) for target in targets]
        return ready, [requests.body(target, source, of, interval) for target in ready]

    def _by_source(self, panel: Json) -> Iterator[tuple[Source | Prometheus, list[Json]]]:
        """The shown targets of a panel by their data sources."""
        own = uid_of(panel.get("datasource"))
        groups: dict[str, list[Json]] = {}
        for target in panel.get("targets") or ():
            if not target.get("hide"):
                given = uid_of(target.get("datasource"))
                groups.setdefault((given or own) if own in (MIXED, "") else own, []).append(target)
        if not groups:
            raise NotEmulated(f"the {panel['type']} panel {panel.get('title')!r} without targets")
        for uid, targets in groups.items():
            if uid == PROMETHEUS:
                if self.prometheus is None:
                    raise NotEmulated("a Prometheus target where no Prometheus runs")
                yield self.prometheus, targets
            elif uid in self.sources:
                yield self.sources[uid], targets
            else:
                raise NotEmulated(f"the data source {uid!r}")


def _check_names(panel: Json, shown: Sequence[Frame]) -> None:
    """What a table's overrides and data links name is there. Names of series depend on the data and may be missing."""
    config = panel.get("fieldConfig") or {}
    if panel["type"] == "table":
        named = [o["matcher"] for o in config.get("overrides") or ()]
        require(shown, [m["options"] for m in named if m["id"] == "byName"], "an override")
    text = json.dumps(config)
    if "__data" in references(text):
        require(shown, list(data_fields(text)), "a link")


def data_fields(text: str) -> Iterator[str]:
    r"""The names in `${__data.fields["a.b"]}`, also as they stand inside of JSON (`\"`); `.text` is the shown value."""
    for part in text.split("__data.fields[")[1:]:
        yield part.partition("]")[0].replace("\\", "").strip("\"'").partition(":")[0]
    for part in text.split("__data.fields.")[1:]:
        yield part.partition("}")[0].partition(":")[0].removesuffix(".text").removesuffix(".numeric")
