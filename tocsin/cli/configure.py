"""`tocsin init` and `tocsin check`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tocsin.cli.context import config_path
from tocsin.cli.output import Exit, print_text
from tocsin.errors import ConfigError, InputError
from tocsin.words import count

if TYPE_CHECKING:
    from tocsin.clock import Clock
    from tocsin.config.settings import Config
    from tocsin.worker.app import App

_EXAMPLE = """\
# Tocsin's configuration. Every setting: docs/configuration.md. Check it with `tocsin check`.
namespace: default

store:
  path: tocsin-data

ingest:
  protect: []
  # - {field: user.id, action: pseudonymize}      # also: mask, drop
  # pseudonym_key: {env: TOCSIN_PSEUDONYM_KEY}    # openssl rand -hex 32

collectors: []
  # - {type: ndjson, params: {paths: [/var/spool/tocsin], stream: inference}}
  # - {type: access_log, params: {paths: [/var/log/nginx/mlflow.log]}}
  # - {type: dataset, params: {paths: [/data/training], label: default}}

# Every detector that requires no setting is on. Change its settings, or turn it off:
detectors: {}
  # feature_drift: {window: 1d, baseline: 28d}
  # latency: {type: pyod, params: {estimator: pyod.models.ecod.ECOD, columns: [event.duration]}}

alerting:
  route:
    receiver: console
    group_by: [detector, subject_id]
    routes:
      - {matchers: ['severity =~ "info|low"'], receiver: nobody}   # stored and listed, not delivered
  receivers:
    console: {type: console}
    nobody: {type: nobody}
"""


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=".")
def init(directory: Path) -> None:
    """Write a tocsin.yaml with comments, which you can then change."""
    path = directory / "tocsin.yaml"
    if path.exists():
        raise ConfigError("the file exists already; it was not changed", path)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text(_EXAMPLE)
    except OSError as error:
        raise ConfigError(f"the file cannot be written: {error.strerror}", path) from None
    print_text(f"wrote {path}; edit it, then run: tocsin check")


@click.command()
@click.pass_context
def check(ctx: click.Context) -> None:
    """Check the configuration: every setting, plug-in, secret, route and source. Nothing is written to the store.

    The exit code is 1 if the configuration is good, but a source cannot be read.
    """
    from tocsin.clock import SystemClock
    from tocsin.config.load import load
    from tocsin.worker import stores

    path, clock = config_path(ctx), SystemClock()
    config = load(path)
    place = stores.check_store(config, clock)
    with tempfile.TemporaryDirectory(prefix="tocsin-check-") as folder:
        app = _app(config, clock, folder)
        app.config.at(("alerting",), app.alerting.check)
        app.close()
    for module, why in app.catalogue.failures.items():
        print_text(f"warning: plug-in module {module} cannot be imported: {why}", err=True)
    print_text(
        f"{path or 'defaults (no tocsin.yaml in this folder)'}: good; {count(len(app.collectors), 'collector')}, "
        f"{count(len(app.settings), 'detector')}, store {place}"
    )
    faults = list(_faults(app))
    for fault in faults:
        print_text(f"error: {fault}", err=True)
    if faults:
        ctx.exit(Exit.FAILED)


def _app(config: Config, clock: Clock, folder: str) -> App:
    """The app of a configuration, with an empty store in a temporary folder in place of its own store."""
    from tocsin.worker.app import App

    return App(replace(config, store=replace(config.store, type="delta", path=folder)), clock)


def _faults(app: App) -> Iterator[str]:
    """Why sources cannot be read."""
    for name, collector in zip(app.sources, app.collectors, strict=True):
        try:
            collector.check()
        except InputError as error:
            yield f"the source {name} cannot be read: {error}"


COMMANDS = (init, check)
