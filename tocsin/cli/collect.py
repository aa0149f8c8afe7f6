"""`tocsin collect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tocsin.cli.context import config_path, open_app
from tocsin.cli.dry_run import preview
from tocsin.cli.output import Exit, json_option, print_text, progress, show
from tocsin.config.parsing import parse
from tocsin.errors import ConfigError, InputError

if TYPE_CHECKING:
    from tocsin.contract.plugin import Collector
    from tocsin.pipeline.ingesting.ingest import Counts
    from tocsin.worker.app import App


@click.command()
@click.argument("kind")
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--stream", help="The stream to append to. For collectors that can append to any stream, such as ndjson."
)
@click.option(
    "--set",
    "pairs",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of the collector; VALUE is YAML (may be repeated).",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print what would be read and how, such as separator and types; store nothing.",
)
@json_option
@click.pass_context
def collect(
    ctx: click.Context,
    kind: str,
    paths: tuple[str, ...],
    stream: str | None,
    pairs: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Collect the new events in PATHS with the collector KIND, such as ndjson or access_log.

    `tocsin plugins list` shows all collectors. A second run continues where the first one ended: it misses no event and
    stores no event twice. If a part of PATHS cannot be read, the rest is collected, an error names the part, and the
    exit code is 1.
    """
    settings: dict[str, Any] = {"paths": list(paths)}
    if stream:
        settings["stream"] = stream
    settings.update(_setting(pair) for pair in pairs)
    if dry_run:
        preview(config_path(ctx), kind, settings, as_json=as_json)
        ctx.exit(Exit.DONE)
    app = open_app(ctx)
    app.drain()
    collector = app.collector(kind, settings)
    counts, fault = _ingest(app, kind, collector)
    if as_json:
        show([counts._asdict()], (), as_json=True, empty="")
    else:
        listed = {name: value for name, value in counts._asdict().items() if value or name != "spooled"}
        print_text(", ".join(f"{name} {value:,}" for name, value in listed.items()))
    if counts.rejected:
        print_text("for the reasons: tocsin events dead_letter", err=True)
    if counts.spooled:
        print_text("the next `collect` or `run` that reaches the cluster writes the spooled events", err=True)
    if fault is not None:
        raise fault
    ctx.exit(Exit.DONE)


def _ingest(app: App, kind: str, collector: Collector[Any]) -> tuple[Counts, InputError | None]:
    """The counts of the events that were ingested, and why a part of the source could not be read."""
    from tocsin.pipeline.ingesting.ingest import Counts

    read = [Counts()]
    with progress(f"collecting {kind}") as at:

        def ingested(counts: Counts) -> None:
            read.append(counts)
            at.detail(f"{counts.read:,} read")

        try:
            app.ingest.run(collector, ingested)
        except InputError as error:  # raised after the parts that can be read
            return read[-1], error
    return read[-1], None


def _setting(pair: str) -> tuple[str, Any]:
    key, equals, value = pair.partition("=")
    if not equals or not key:
        raise click.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint="--set")
    try:
        return key, parse(value, None, {}) if value else None
    except ConfigError as error:
        raise click.BadParameter(f"the value of {key!r}: {error}", param_hint="--set") from None


COMMANDS = (collect,)
