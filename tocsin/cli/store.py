"""`tocsin store`: the index templates of a cluster, and copying history between stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tocsin.cli.context import config_path
from tocsin.cli.output import Exit, Progress, json_option, print_text, progress, show
from tocsin.contract.streams import STREAMS
from tocsin.words import count

if TYPE_CHECKING:
    from tocsin.clock import Clock
    from tocsin.config.settings import Config
    from tocsin.pipeline.copying import Copied, Report
    from tocsin.store.cluster.elastic import ElasticStore
    from tocsin.store.protocol import Store

_YAML = click.Path(path_type=Path, dir_okay=False)


@click.group()
def store() -> None:
    """Check and install the index templates of a cluster, and copy history from one store to another."""


@store.command()
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show for each template whether it is current, missing, older, newer or changed.

    Exit 1 if any template is not current.
    """
    found = _cluster(ctx).status()
    rows = [{"template": name, "status": state} for name, state in found.items()]
    show(rows, ("template", "status"), as_json=as_json, empty="no stream")
    if set(found.values()) != {"current"}:
        ctx.exit(Exit.FAILED)


@store.command()
@json_option
@click.pass_context
def setup(ctx: click.Context, as_json: bool) -> None:
    """Install every template that is not current.

    Stored events do not change. A second run changes nothing.
    """
    before = _cluster(ctx).setup()
    rows = [{"template": name, "was": state} for name, state in before.items() if state != "current"]
    show(rows, ("template", "was"), as_json=as_json, empty="every template was current")


@store.command()
@json_option
@click.pass_context
def diff(ctx: click.Context, as_json: bool) -> None:
    """Show what `tocsin store setup` would change in each template.

    Exit 1 if it would change any template.
    """
    found = _cluster(ctx).differences()
    if as_json:
        show([{"template": name, "diff": text} for name, text in found.items()], (), as_json=True, empty="")
    elif found:
        print_text("\n\n".join(found.values()))
    else:
        print_text("every template is current")
    if found:
        ctx.exit(Exit.FAILED)


def _cluster(ctx: click.Context) -> ElasticStore:
    from tocsin.clock import SystemClock
    from tocsin.config.load import load
    from tocsin.worker import stores

    found = stores.cluster(load(config_path(ctx)), SystemClock(), prepare=False)
    ctx.call_on_close(found.close)
    return found


@store.command()
@click.option("--from", "source", type=_YAML, required=True, help="Configuration of the store to read.")
@click.option("--to", "target", type=_YAML, required=True, help="Configuration of the store to write.")
@click.option(
    "--stream",
    "streams",
    type=click.Choice(list(STREAMS)),
    multiple=True,
    help="Copy only this stream, and no state (may be repeated).",
)
@click.option("--streams-only", is_flag=True, help="Copy no state. For a new store that already has state.")
@json_option
@click.pass_context
def copy(
    ctx: click.Context,
    source: Path,
    target: Path,
    streams: tuple[str, ...],
    streams_only: bool,
    as_json: bool,
) -> None:
    """Copy all history from one store to another. Each store is a folder or a cluster.

    The command copies the events of all streams, then the keyed state (alerts, baselines, the progress of detection and
    alerting), stored files and the checkpoints of collectors. `tocsin run` with the new store then continues where
    `tocsin run` with the old store ended. Every field of an event is copied unchanged, except `event.ingested`: the
    new store sets its own ingest time.

    Before the copy, stop all programs that write to either store. To continue an interrupted copy, start the command
    again. If the first copy was complete, a second one copies only the events that arrived in the meantime.

    Exit 1 if the new store refused rows.
    """
    from tocsin.clock import SystemClock
    from tocsin.config.load import load
    from tocsin.pipeline import copying

    clock, here = SystemClock(), load(source)
    there = load(target)
    with progress("copying", plain=True) as at:
        reading = _source(here, clock)
        ctx.call_on_close(reading.close)
        writing = _target(there, clock)
        ctx.call_on_close(writing.close)
        report = copying.copy(
            reading,
            writing,
            streams,
            streams_only=streams_only,
            report=lambda copied, total: _count(at, copied, total),
        )
    _print(report, as_json=as_json)
    if report.refused:
        ctx.exit(Exit.FAILED)


def _source(config: Config, clock: Clock) -> Store:
    """The store to read; it is opened without creating a folder or installing templates."""
    from tocsin.worker import stores

    if config.store.type == "elasticsearch":
        return stores.cluster(config, clock, prepare=False)
    place = config.folder / config.store.path
    if not (place / "state.db").is_file():
        raise config.error(f"there is no store to copy from in {place}", ("store", "path"))
    return stores.store(config, clock)


def _target(config: Config, clock: Clock) -> Store:
    from tocsin.worker import stores

    return stores.store(config, clock)


def _count(at: Progress, copied: Copied, total: int) -> None:
    """A live line on a terminal; elsewhere a line for each stream."""
    line = f"{copied.stream}: {copied.read:,} of {count(total, 'row')}"
    if copied.read >= total:
        at.step(line)
    else:
        at.update(line)


def _print(report: Report, *, as_json: bool) -> None:
    show(
        _rows(report, as_json=as_json),
        ("stream", "copied", "duplicates", "refused"),
        as_json=as_json,
        empty="",
    )
    if report.state is not None and not as_json:
        moved = report.state
        parts = (moved.records, "record"), (moved.files, "file"), (moved.checkpoints, "checkpoint")
        print_text(f"state: {', '.join(count(number, noun) for number, noun in parts)}")
    for copied in report.streams:
        for reason, number in copied.refused.items():
            print_text(f"refused: {count(number, 'row')} of {copied.stream}: {reason}", err=True)
    if report.late:
        print_text(
            f"the source received {count(report.late, 'new row')} during the copy; copy again", err=True
        )


def _rows(report: Report, *, as_json: bool) -> Iterator[dict[str, Any]]:
    for copied in report.streams:
        row = {"stream": copied.stream, "copied": copied.rows, "duplicates": copied.duplicates}
        row["refused"] = sum(copied.refused.values())
        yield row | {"reasons": dict(copied.refused), "late": copied.late} if as_json else row
    if report.state is not None and as_json:
        yield {"state": report.state._asdict()}


COMMANDS = (store,)
