"""`tocsin init` and `tocsin check`."""

from __future__ import annotations

from pathlib import Path

import click

from tocsin.cli.context import config_path, open_app
from tocsin.cli.output import print_text
from tocsin.errors import ConfigError
from tocsin.words import count

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
    """Write a commented tocsin.yaml to start from."""
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
    """Check every setting, plug-in, secret and route of the configuration."""
    app = open_app(ctx)
    app.config.at(("alerting",), app.alerting.check)
    for module, why in app.catalogue.failures.items():
        print_text(f"warning: plug-in module {module} cannot be imported: {why}", err=True)
    path = config_path(ctx)
    print_text(
        f"{path or 'defaults (no tocsin.yaml in this folder)'}: good; {count(len(app.collectors), 'collector')}, "
        f"{count(len(app.settings), 'detector')}, store {app.store.place}"
    )


COMMANDS = (init, check)
