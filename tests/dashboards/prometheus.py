"""A real Prometheus that remembers six hours of a worker's own metrics, and PromQL targets asked of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.dashboards.cluster import QueryError
from tests.dashboards.datasources import NotEmulated
from tests.dashboards.frames import Frame
from tests.dashboards.interpolation import Value, Values, built_in, regex_escape, replace
from tests.dashboards.ranges import HOUR, MINUTE, Interval, Range, interval
from tests.nodes.node import Missing, free_port, with_pause
from tocsin.contract.findings import Outcome
from tocsin.pipeline.detecting.pending import Waiting
from tocsin.pipeline.detecting.records import Run
from tocsin.pipeline.ingesting.ingest import Counts
from tocsin.worker.metrics import Metrics

#: A worker remembers little: panels of metrics are looked at over the end of a story only.
REMEMBERED = 6 * HOUR
STEP = 30_000
_LABEL = re.compile(r"\{\{\s*(.+?)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A Prometheus data source."""

    url: str

    def frames(self, target: Mapping[str, Any], of: Range, _: Interval, values: Values) -> list[Frame]:
        """What a target shows over the last six hours of a range.

        Raises:
            QueryError: Prometheus refused the expression.
            NotEmulated: a variable has a format that is not.
        """
        seen = Range(max(of.start, of.end - REMEMBERED), of.end)
        every = interval(seen, None, target.get("interval"))
        known = {**{n: _escaped(v) for n, v in values.items()}, **built_in(seen, every)}
        expression = replace(str(target["expr"]), known, "raw")
        if target.get("instant") and not target.get("range"):
            found = self._ask("query", query=expression, time=seen.end / 1000)
            points = [(one["metric"], [one["value"]]) for one in found]
        else:
            step = max(every.milliseconds, 15_000) / 1000
            end = seen.end / 1000 // step * step
            found = self._ask(
                "query_range", query=expression, start=seen.start / 1000 // step * step, end=end, step=step
            )
            points = [(one["metric"], one["values"]) for one in found]
        if target.get("format") == "table":
            return _table(str(target.get("refId") or "A"), points)
        return [_series(target, labels, values) for labels, values in points]

    def _ask(self, path: str, **parameters: Any) -> list[Any]:
        body = urllib.parse.urlencode(parameters).encode()
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}", body, timeout=30) as answer:
                data = json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise QueryError(
                f"{parameters['query']}: {error.read().decode(errors='replace')[:300]}"
            ) from None
        if data["resultType"] not in ("vector", "matrix"):
            raise NotEmulated(f"the {data['resultType']} that {parameters['query']} is")
        result: list[Any] = data["result"]
        return result


def _escaped(value: Value) -> Value:
    """A value as it stands in a matcher: several ones as a regular expression, whose backslashes are doubled."""
    if value.raw:
        return value
    if isinstance(value.value, str):
        return Value(value.value.replace("\\", "\\\\").replace('"', '\\"'))
    parts = [regex_escape(part).replace("\\", "\\\\") for part in value.value]
    return Value(parts[0] if len(parts) == 1 else f"({'|'.join(parts)})")


def _series(target: Mapping[str, Any], labels: Mapping[str, str], values: list[Any]) -> Frame:
    legend = str(target.get("legendFormat") or "__auto")
    if legend == "__auto":
        inner = ", ".join(f'{k}="{v}"' for k, v in labels.items() if k != "__name__")
        name = (
            f"{labels.get('__name__', '')}{{{inner}}}"
            if inner
            else labels.get("__name__", str(target["expr"]))
        )
    else:
        name = _LABEL.sub(lambda found: labels.get(found[1], ""), legend)
    columns = {"Time": [time for time, _ in values], name: [float(value) for _, value in values]}
    return Frame(str(target.get("refId") or "A"), columns, labels)


def _table(ref: str, points: list[tuple[Any, list[Any]]]) -> list[Frame]:
    rows = [
        {"Time": time, **labels, "Value": float(value)} for labels, values in points for time, value in values
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [Frame(ref, {name: [row.get(name) for row in rows] for name in names})] if rows else []


def samples(end: int) -> Iterator[str]:
    """Six hours of what a worker that has something to do says at /metrics, in OpenMetrics' form."""
    metrics = Metrics()
    for number, at in enumerate(range(end - REMEMBERED - 5 * MINUTE, end + STEP, STEP)):
        _work(metrics, number, datetime.fromtimestamp(at / 1000, UTC))
        for line in metrics.text().decode().splitlines():
            if line and not line.startswith("#"):
                yield f"{line} {at / 1000}"
    yield "# EOF"


def _work(metrics: Metrics, number: int, now: datetime) -> None:
    """Half a minute of a worker: events, windows good and bad, gaps, notifications, a spool."""
    detectors = ("feature_drift", "label_poisoning", "model_extraction", "registry_access")
    for stream in ("inference", "access", "dataset", "pipeline"):
        taken = Counts(read=13, accepted=10, duplicate=2, rejected=1)
        metrics.ingested(stream, taken, now - timedelta(seconds=20 + number % 30), now)
    outcomes = list(Outcome)
    for place, detector in enumerate(detectors):
        outcome = outcomes[number % len(outcomes)] if place == 0 else Outcome.EVALUATED
        fault = "raised" if outcome is Outcome.FAILED else ""
        seconds = 0.02 * (number % 50 + 1)
        metrics.evaluated(Run(detector, now - timedelta(days=1), now, outcome, seconds=seconds, fault=fault))
    since = now - timedelta(hours=1)
    waiting = Waiting("feature_drift", since - timedelta(hours=1), since, 1, gap=True, fault="")
    metrics.waiting(detectors, [(waiting, since)], now)
    metrics.notified("pages", "delivered", 1)
    metrics.notified("pages", "refused", number % 2)
    metrics.spool(1000 + number, 10)
    metrics.up(well=True)


@contextmanager
def running(folder: Path, end: int) -> Iterator[Prometheus]:
    """A Prometheus with the metrics of the six hours before `end`.

    Raises:
        Missing: Prometheus is not on this machine.
        RuntimeError: it did not come up.
    """
    if not shutil.which("prometheus") or not shutil.which("promtool"):
        raise Missing("Prometheus is not on this machine (Debian: prometheus)")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.txt").write_text("\n".join(samples(end)) + "\n")
    make = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "metrics.txt", "data"]
    subprocess.run(make, cwd=folder, check=True, capture_output=True)
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")
    port = free_port()
    options = [
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        "--storage.tsdb.retention.time=100y",
    ]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            ["prometheus", *options, f"--web.listen-address=127.0.0.1:{port}"],
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        _await(f"http://127.0.0.1:{port}", process, folder / "log.txt")
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(30)


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=3):
                return
        except OSError:
            with_pause(0.1)
    raise RuntimeError(f"Prometheus did not come up:\n{log.read_text()[-1000:]}")
