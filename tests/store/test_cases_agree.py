"""What a detector sees does not depend on the store: every case of every detector on both, score by score."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from elasticsearch import Elasticsearch

from tests.conftest import ROOT
from tocsin.clock import floor_time, parse_length
from tocsin.config import discovery
from tocsin.config.params import build
from tocsin.contract.evaluation import Judgement, fit, judge
from tocsin.contract.frames import conform
from tocsin.contract.plugin import Detector
from tocsin.contract.streams import ID, TIME
from tocsin.contract.windows import FrameSource, Window
from tocsin.pipeline.detecting.source import StoreSource
from tocsin.store.cluster import templates
from tocsin.store.cluster.elastic import ElasticStore
from tocsin.store.embedded.delta import DeltaStore
from tocsin.store.protocol import Store
from tocsin.testing.cases import Case, load, rows, snapshots

FILES = sorted((ROOT / "tests" / "cases").glob("*.yaml"))
CASES = [(file.stem, case) for file in FILES for case in load(file)]
Frames = Mapping[str, pl.DataFrame]


@dataclass(frozen=True, slots=True)
class CaseSource(StoreSource):
    """A store's rows, and the case's own snapshots."""

    given: Mapping[str, pl.LazyFrame] = None  # type: ignore[assignment]

    def snapshot(self, digest: str) -> pl.LazyFrame:
        return FrameSource({}, self.given).snapshot(digest)


def whole(given: Mapping[str, Any], word: str) -> dict[str, pl.DataFrame]:
    """The rows of a case as a store takes them: each with an id."""
    found = {}
    for stream, some in given.items():
        frame = conform(rows(some), stream)
        ids = pl.format(f"{word}{{}}", pl.int_range(pl.len()))
        found[stream] = frame.with_columns(pl.coalesce(ID, ids).alias(ID)).filter(pl.col(TIME).is_not_null())
    return found


def on_cluster(url: str, namespace: str, streams: Collection[str]) -> ElasticStore:
    """A store that is set up for these streams only: for all of them it takes most of a case's time."""
    store, client = ElasticStore.open(url, namespace, replicas=0, prepare=False), Elasticsearch(url)
    wanted = {
        name: template
        for name, template in store.templates().items()
        if name.removeprefix("tocsin.").partition("-")[0] in streams
    }
    if wanted:
        templates.setup(client, wanted)
    client.close()
    return store


def fill(store: Store, frames: Frames) -> Store:
    for stream, frame in frames.items():
        store.append(stream, frame)
    return store


def judgements(detector: Detector[Any], case: Case, stores: Mapping[str, Store]) -> list[Judgement]:
    """As `tocsin.testing.evaluate` does it, over stores."""
    sources = {name: CaseSource(store, given=snapshots(case)) for name, store in stores.items()}
    baseline = None
    if case.baseline is not None and detector.requires.baseline is not None:
        times = pl.concat([f[TIME] for f in whole(case.baseline, "").values()])
        first, last = times.min(), times.max()
        assert isinstance(first, datetime)
        assert isinstance(last, datetime)
        baseline = fit(detector, Window(first, last + timedelta(microseconds=1), sources["trusted"]), 0.01)
    length = parse_length(case.window) if case.window else detector.requires.window
    events = whole(case.events, "")
    times = pl.concat([events[s][TIME] for s in detector.requires.streams if s in events]).unique()
    starts = sorted({floor_time(time, length) for time in times.to_list()})
    return [
        judged
        for start in starts
        for judged in judge(
            detector, Window(start, start + length, sources["events"], baseline, sources["past"])
        )
    ]


@pytest.mark.parametrize(("id", "case"), CASES, ids=[f"{id}-{case.name}" for id, case in CASES])
def test_both_stores_give_the_same(
    id: str, case: Case, tmp_path: Path, elasticsearch_url: str, namespace: str
) -> None:
    plugin = discovery.discover().get(Detector, id)  # type: ignore[type-abstract]
    trusted, events = whole(case.baseline or {}, "trusted-"), whole(case.events, "event-")
    parts: dict[str, list[Frames]] = {"trusted": [trusted], "events": [events], "past": [trusted, events]}
    if not trusted:  # then the past is what happened and nothing else
        parts = {"events": [events]}
    found = []
    for kind in ("delta", "elasticsearch"):

        def made(name: str, kind: str = kind) -> Store:
            store: Store = (
                DeltaStore.open(tmp_path / name)
                if kind == "delta"
                else on_cluster(elasticsearch_url, f"{namespace}.{name}", {s for f in parts[name] for s in f})
            )
            for some in parts[name]:
                fill(store, some)
            return store

        with ThreadPoolExecutor(len(parts)) as pool:
            stores: dict[str, Store] = dict(zip(parts, pool.map(made, parts), strict=True))
        detector = plugin(build(plugin.params_type(), case.params))
        sources = {"trusted": stores["events"], "past": stores["events"]} | stores
        found.append(judgements(detector, case, sources))
        for store in stores.values():
            store.close()
    delta, elastic = found
    assert [j.score.subject for j in delta] == [j.score.subject for j in elastic]
    assert [j.finding is None for j in delta] == [j.finding is None for j in elastic]
    for one, two in zip(delta, elastic, strict=True):
        assert one.score.value == pytest.approx(two.score.value, rel=1e-9)
        assert one.threshold == pytest.approx(two.threshold, rel=1e-9)
