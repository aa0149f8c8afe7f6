"""`tocsin baseline`: fit, list, show, pin."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from tocsin.cli.context import open_app
from tocsin.cli.output import Exit, Time, in_order, json_option, print_text, progress, show
from tocsin.cli.tables import Column
from tocsin.cli.values import plain, text
from tocsin.errors import BaselineError

_COLUMNS = (
    Column("detector"),
    Column("version", right=True),
    Column("start", time=True),
    Column("end", time=True),
    Column("threshold", right=True),
    Column("pinned"),
    Column("digest", minor=True),
)


@click.group()
def baseline() -> None:
    """Fit, list, show and pin the baselines that detectors compare windows with."""


@baseline.command()
@click.option("--detector", "detectors", multiple=True, help="Only this detector (may be repeated).")
@click.option(
    "--from",
    "start",
    type=Time(),
    help="Start of the history to fit on. Default: --to minus the baseline's length.",
)
@click.option("--to", "end", type=Time(), help="End of the history to fit on. Default: now.")
@click.option("--pin", is_flag=True, help="Pin the fitted baselines.")
@json_option
@click.pass_context
def fit(
    ctx: click.Context,
    detectors: tuple[str, ...],
    start: datetime | None,
    end: datetime | None,
    pin: bool,
    as_json: bool,
) -> None:
    """Fit baselines on history that you trust.

    Without --detector, the command fits a baseline for every detector that has enough history. It excludes windows with
    findings of severity medium or higher.
    """
    in_order(start, end)
    app = open_app(ctx)
    chosen = [app.setting(d) for d in detectors] or [
        s for s in app.settings if s.detector.requires.baseline is not None
    ]
    fitted: list[Any] = []
    with progress("fitting") as at:
        for setting in chosen:
            at.detail(setting.detector.id)
            try:
                version = app.detect.fit(setting, end or app.clock.now(), start)
            except BaselineError as error:
                if detectors:
                    raise
                print_text(f"skipped: {error}", err=True)
                continue
            if pin:
                version = app.detect.baselines.pin(version.detector, version.number) or version
            app.audit("baseline fit", f"{version.detector}/{version.number}", pinned=pin)
            fitted.append(version.to_dict())
    show(fitted, _COLUMNS, as_json=as_json, empty="no baseline was fitted")
    if chosen and not fitted:
        ctx.exit(Exit.FAILED)


@baseline.command(name="list")
@click.option("--detector", help="Only this detector.")
@json_option
@click.pass_context
def list_(ctx: click.Context, detector: str | None, as_json: bool) -> None:
    """List the versions of baselines, oldest first."""
    app = open_app(ctx)
    versions = app.detect.baselines.versions(detector)
    if detector and not versions:
        app.setting(detector)
    show(
        (v.to_dict() for v in versions),
        _COLUMNS,
        as_json=as_json,
        empty="no baseline is stored; fit one with `tocsin baseline fit`",
    )


@baseline.command(name="show")
@click.argument("detector")
@click.argument("version", type=int)
@json_option
@click.pass_context
def show_(ctx: click.Context, detector: str, version: int, as_json: bool) -> None:
    """Show one version: its digest, the time it was fitted on, its threshold, its values, and the size of its tables."""
    baselines = open_app(ctx).detect.baselines
    known = baselines.version(detector, version)
    loaded = baselines.load(known)
    facts = {
        **known.to_dict(),
        "values": loaded.values,
        "frames": {name: list(frame.shape) for name, frame in loaded.frames.items()},
    }
    if as_json:
        show([facts], (), as_json=True, empty="")
        return
    for key, value in facts.items():
        print_text(f"{key}: {text(plain(value))}")


@baseline.command()
@click.argument("detector")
@click.argument("version", type=int, required=False)
@click.option(
    "--off",
    is_flag=True,
    help="Unpin the pinned version; name no VERSION. Only rolling baselines apply then.",
)
@click.option("--by", default="", help="Your name.")
@click.option("--reason", default="", help="The reason for the change.")
@click.pass_context
def pin(ctx: click.Context, detector: str, version: int | None, off: bool, by: str, reason: str) -> None:
    """Pin VERSION of a detector's baselines: the detector compares every window with it until you unpin it.

    A detector has at most one pinned version. With the setting `rolling`, which is on by default, the detector also
    compares each window with a rolling baseline. The detector skips a window that overlaps the time that the pinned
    version was fitted on.
    """
    if (version is None) != off:
        raise click.UsageError("name a VERSION to pin, or use --off")
    app = open_app(ctx)
    app.detect.baselines.pin(detector, version)
    app.audit("baseline unpin" if off else "baseline pin", f"{detector}/{version or ''}", by, reason)
    print_text(f"{detector}: {'no version is pinned' if off else f'version {version} is pinned'}")


COMMANDS = (baseline,)
