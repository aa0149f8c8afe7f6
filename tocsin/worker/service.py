"""The worker of `tocsin run`: its jobs, its monitoring, and the reload of its configuration."""

from __future__ import annotations

import functools
import http.client
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path

from tocsin.clock import parse_length
from tocsin.config.secret import Secret
from tocsin.errors import StoreError, TocsinError
from tocsin.logs import logger
from tocsin.pipeline.detecting.records import Run
from tocsin.worker.app import App
from tocsin.worker.endpoint import Answer, endpoint, plain
from tocsin.worker.metrics import CONTENT_TYPE, Metrics
from tocsin.worker.schedule import Job, Progress, Wakes, serve

log = logger()
_TURN = timedelta(
    minutes=1
)  # a backlog is processed in turns of this length, so that the worker can be stopped in between
_PATIENCE = 10.0  # timeout of a heartbeat in seconds


class Service:
    """A running worker."""

    def __init__(self, path: Path | None, app: App) -> None:
        self._path, self.app = path, app
        self._using: Counter[App] = Counter()
        self._mutex = threading.Lock()
        self.metrics = Metrics()
        self._wakes = Wakes()
        self.jobs = self._jobs()
        self._progress = Progress(self.jobs)
        self._observe(app)

    def _observe(self, app: App) -> None:
        app.observe(self.metrics.ingested, self.metrics.early)
        app.detect.written = functools.partial(self._wakes.wake, "alert")

    def run(self) -> None:
        """Run the jobs until SIGINT or SIGTERM."""
        listen = self.app.config.monitoring.listen
        routes: dict[str, Callable[[], Answer]] = {
            "/metrics": lambda: (200, CONTENT_TYPE, self._measured()),
            "/healthz": lambda: plain(self._stuck()),
            "/readyz": lambda: plain(self._stuck() or self._unreachable()),
        }
        with endpoint(listen, routes) if listen else nullcontext() as url:
            log.info("worker started", worker=self.app.worker, listen=url, detectors=len(self.app.settings))
            serve(self.jobs, self.reload, self._progress, self._ending, self._wakes)
        log.info("worker stopped", worker=self.app.worker)
        self.app.close()

    def _ending(self) -> None:
        self.app.stop_delivering()

    def _jobs(self) -> dict[str, Job]:
        config = self.app.config
        schedule = {name: parse_length(getattr(config.schedule, name)) for name in config.schedule.__slots__}
        jobs = {
            "collect": Job(schedule["collect"], self._collect),
            "detect": Job(min(schedule["detect"], schedule["early"]), self._detect, config.worker.lanes),
            "alert": Job(schedule["alert"], self._alert),
            "maintain": Job(schedule["maintain"], self._maintain),
            "health": Job(schedule["health"], self._health),
        }
        if config.monitoring.heartbeat is not None:
            jobs["heartbeat"] = Job(parse_length(config.monitoring.heartbeat_every), self._heartbeat)
        return jobs

    @contextmanager
    def _current(self) -> Iterator[App]:
        """The current app. A replaced app is closed when its last job ends."""
        with self._mutex:
            app = self.app
            self._using[app] += 1
        try:
            yield app
        finally:
            with self._mutex:
                self._using[app] -= 1
                last = app is not self.app and not self._using[app]
                if last:
                    del self._using[app]
            if last:
                app.close()

    def reload(self) -> Mapping[str, Job] | None:
        """Reload the configuration. If it has an error, the current one stays in force."""
        try:
            new = self.app.reload(self._path)
            try:
                new.alerting.check()
            except TocsinError:
                new.close()
                raise
        except TocsinError as error:
            log.error("configuration rejected, the current one stays in force", error=str(error))  # noqa: TRY400
            return None
        self._observe(new)
        new.take_over(self.app)
        with self._mutex:
            old, self.app = self.app, new
            idle = not self._using[old]
        if idle:
            old.close()
        log.info("configuration reloaded", worker=new.worker, detectors=len(new.settings))
        self.jobs = self._jobs()
        self._progress.expect(self.jobs)
        return self.jobs

    # Jobs

    def _collect(self) -> None:
        with self._current() as app:
            counts, _ = app.collect()
        if counts.accepted:
            self._wakes.wake("detect")

    def _detect(self) -> None:
        with self._current() as app:
            app.detect.run(app.settings, progress=self._evaluated, limit=_TURN)

    def _evaluated(self, run: Run) -> None:
        self.metrics.evaluated(run)
        facts = {"detector": run.detector, "window": run.start.isoformat(), "outcome": run.outcome.value}
        if run.reason:
            facts["reason"] = run.reason
        log.info("window evaluated", findings=len(run.findings), seconds=round(run.seconds, 3), **facts)

    def _alert(self) -> None:
        with self._current() as app:
            result = app.alert()
        if result is None:
            return
        for receiver, outcome, count in result.notifications:
            self.metrics.notified(receiver, outcome, count)
        for measured in result.measured:
            self.metrics.alerted(*measured)
        if result.notified or result.failed or result.retried:
            log.info("alerting", notified=result.notified, failed=result.failed, retried=result.retried)

    def _maintain(self) -> None:
        with self._current() as app:
            done = app.maintain()
        if any(done.values()):
            log.info("maintenance", **done)

    def _health(self) -> None:
        with self._current() as app:
            run = app.health_check.judge(app.settings, app.catalogue.failures, app.sources)
        for finding in run.findings if run else ():
            log.warning("unhealthy", subject=finding.subject.id, reason=finding.reason)

    def _heartbeat(self) -> None:
        trouble = self._stuck()
        if trouble:
            log.warning("heartbeat not sent", reason=trouble)
            return
        with self._current() as app:
            given = app.config.monitoring.heartbeat
            url = Secret.parse(given, app.config.folder).reveal()
        if not url.startswith(("https://", "http://")):
            raise StoreError("monitoring.heartbeat: the URL must begin with https:// or http://")
        try:
            with urllib.request.urlopen(url, timeout=_PATIENCE):  # noqa: S310 — the scheme is checked above
                pass
        except http.client.HTTPException as error:  # its message may be the URL, which is a secret
            raise StoreError(f"the heartbeat was not accepted: {type(error).__name__}") from None
        except (urllib.error.URLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)  # never the URL
            raise StoreError(f"the heartbeat was not accepted: {reason}") from None

    # Monitoring

    def _stuck(self) -> str:
        stuck = self._progress.stuck()
        return f"jobs not completed in time: {', '.join(stuck)}" if stuck else ""

    def _unreachable(self) -> str:
        try:
            with self._current() as app:
                app.store.get("upkeep", "last")
        except StoreError as error:
            return str(error)
        return ""

    def _measured(self) -> bytes:
        with self._current() as app:
            self.metrics.up(well=not self._stuck())
            if app.spool is not None:
                self.metrics.spool(app.spool.bytes, app.spool.events)
            try:
                due = {s.detector.id: s for s in app.settings}
                waiting = [
                    (w, max(w.since, due[w.detector].due(w.start)))
                    for w in app.detect.ledger.waiting()
                    if w.detector in due
                ]
                self.metrics.waiting(due, waiting, app.clock.now())
            except StoreError as error:
                log.warning(
                    "metrics of pending windows not updated: the store cannot be read", error=str(error)
                )
        return self.metrics.text()
