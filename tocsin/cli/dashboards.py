"""`tocsin dashboards`: Grafana's dashboards as files, and in a Grafana over its API."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tocsin.cli.context import config_path
from tocsin.cli.output import Exit, clean, json_option, show
from tocsin.errors import InputError

if TYPE_CHECKING:
    from tocsin.config.settings import Config
    from tocsin_dashboards.changes import Change
    from tocsin_dashboards.grafana import Grafana

_COLUMNS = ("state", "kind", "uid", "title", "reason")
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
sources_option = click.option(
    "--sources",
    type=_FILE,
    help="Data sources as well: a file such as deploy/grafana/datasources/tocsin.yml.",
)
alerting_option = click.option(
    "--alerting",
    type=_FILE,
    help="Alert rules and contact point as well: a file such as deploy/grafana/alerting/tocsin.yml.",
)
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace what somebody changed in Grafana; its history keeps theirs."
)
prune_option = click.option(
    "--prune", is_flag=True, help="Delete what was pushed once and is no longer built."
)


@click.group()
def dashboards() -> None:
    """Grafana's dashboards: build them as files, and keep a Grafana's like them."""


@dashboards.command()
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the dashboards there, and nothing else. Default: all that compose.yaml mounts.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file is not as it would be.")
@json_option
@click.pass_context
def build(ctx: click.Context, folder: Path | None, check: bool, as_json: bool) -> None:
    """Write every dashboard as a file, for a Grafana that reads files; one that is no longer built goes.

    Without --to it must be started in Tocsin's repository: it writes the dashboards, their data sources and Grafana's
    alert rules to where compose.yaml mounts them.
    """
    from tocsin.config.load import load

    files, gone = _files(folder, _built(load(config_path(ctx))))
    rows = [{"file": str(path), "state": state} for path in files if (state := _state(path, files[path]))]
    rows += [{"file": str(path), "state": "removed"} for path in gone]
    if not check:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        for path in gone:
            path.unlink()
    show(rows, ("state", "file"), as_json=as_json, empty="every file is as it should be")
    if check and rows:
        ctx.exit(Exit.FAILED)


def _files(folder: Path | None, built: Mapping[str, Any]) -> tuple[dict[Path, str], list[Path]]:
    """Each file with its text, and files of dashboards that are no longer built."""
    from tocsin_dashboards import alert_rules, changes, source_file

    place = folder or Path(changes.FOLDER)
    if folder is None and not (place.parent.is_dir() and alert_rules.RULES.is_file()):
        raise InputError(
            f"{place.parent} is not here: start this in Tocsin's repository, or write --to FOLDER"
        )
    files = {place / f"{uid}.json": changes.text(dashboard) for uid, dashboard in sorted(built.items())}
    gone = [path for path in sorted(place.glob("*.json")) if path not in files and _ours(path)]
    if folder is None:
        files[alert_rules.FILE] = alert_rules.file(alert_rules.RULES)
        files[source_file.FILE] = source_file.file()
    return files, gone


def _ours(path: Path) -> bool:
    """Whether a file is a dashboard that `build` wrote."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("uid") == path.stem and "tocsin" in (found.get("tags") or ())


def _state(path: Path, text: str) -> str:
    if not path.exists():
        return "added"
    return "" if path.read_text(encoding="utf-8") == text else "changed"


@dashboards.command()
@sources_option
@alerting_option
@json_option
@click.pass_context
def diff(ctx: click.Context, sources: Path | None, alerting: Path | None, as_json: bool) -> None:
    """Show what differs between what is built and what Grafana has; exit 1 if anything does."""
    changes = _plan(ctx, sources, alerting)
    _tell(changes, as_json=as_json)
    if any(change.state != "unchanged" and change.kind != "policy" for change in changes):
        ctx.exit(Exit.FAILED)


@dashboards.command()
@sources_option
@alerting_option
@overwrite_option
@prune_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_context
def push(
    ctx: click.Context,
    sources: Path | None,
    alerting: Path | None,
    overwrite: bool,
    prune: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Show what differs, ask, and make Grafana's dashboards like what is built.

    What somebody changed in Grafana is kept, and so are dashboards that are not Tocsin's, such as an analyst's copies.
    Doing it again writes nothing. Data sources that are there stay as they are.
    """
    changes = _plan(ctx, sources, alerting, overwrite=overwrite, prune=prune)
    if not as_json:
        _tell(changes, as_json=False)
    if any(change.apply for change in changes) and not yes:
        if as_json or not sys.stdin.isatty():
            raise click.UsageError(
                "nobody is here to be asked; look at `tocsin dashboards diff`, then write --yes"
            )
        click.confirm("Write this to Grafana?", abort=True)
    done = _written(changes)
    if as_json:
        _tell(done, as_json=True)
        return
    for was, now in zip(changes, done, strict=True):
        if was.state != now.state:  # somebody was faster
            click.echo(f"{now.uid}: {now.state}: {clean(now.reason)}", err=True)
    written = sum(_is_written(was, now) for was, now in zip(changes, done, strict=True))
    click.echo(f"{written} written" if written else "nothing to write", err=True)


def _is_written(was: Change, now: Change) -> bool:
    return was.apply is not None and now.state == was.state


def _written(changes: Sequence[Change]) -> list[Change]:
    """What became of each change; one that fails ends it, after saying what is written already."""
    from tocsin_dashboards.grafana import GrafanaError

    done: list[Change] = []
    for change in changes:
        try:
            done.append(change.apply() if change.apply else change)
        except GrafanaError:
            written = [was.uid for was, now in zip(changes, done, strict=False) if _is_written(was, now)]
            if written:
                told = f"written before it failed at {change.uid}: {', '.join(written)}; pushing again goes on from there"
                click.echo(told, err=True)
            raise
    return done


@dashboards.command()
@click.argument("uid")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the patch there, not to the screen.",
)
@click.pass_context
def pull(ctx: click.Context, uid: str, output: Path | None) -> None:
    """Write what was changed in Grafana on dashboard UID as a patch, for `git apply` in Tocsin's repository."""
    from tocsin.config.load import load
    from tocsin.config.params import unknown
    from tocsin_dashboards import provision

    config = load(config_path(ctx))
    built = _built(config)
    if uid not in built:
        raise InputError(unknown(uid, built, "dashboard"))
    patch = provision.pull(_grafana(ctx, config), uid, built[uid])
    if not patch:
        click.echo(f"{uid} is in Grafana as it is built", err=True)
    if output is not None:
        output.write_text(patch, encoding="utf-8")
    elif patch:
        click.echo(patch, nl=False)


def _plan(
    ctx: click.Context,
    sources: Path | None,
    alerting: Path | None,
    *,
    overwrite: bool = False,
    prune: bool = False,
) -> Sequence[Change]:
    from tocsin.config.load import load
    from tocsin_dashboards import alert_provisioning, provision, source_provisioning

    config = load(config_path(ctx))
    built = _built(config)
    given = source_provisioning.read(sources) if sources else []
    rules = alert_provisioning.read(alerting) if alerting else None
    grafana = _grafana(ctx, config)
    folder = provision.Folder(grafana, config.grafana.folder)
    changes = list(source_provisioning.plan(grafana, given))
    changes += provision.plan(grafana, built, folder, overwrite=overwrite, prune=prune)
    return [*changes, *(alert_provisioning.plan(grafana, rules, folder) if rules else ())]


def _tell(changes: Sequence[Change], *, as_json: bool) -> None:
    show((change.row() for change in changes), _COLUMNS, as_json=as_json, empty="nothing is built")
    if not as_json:
        for change in changes:
            if change.diff:
                click.echo("\n" + "\n".join(clean(line) for line in change.diff.splitlines()))


def _built(config: Config) -> dict[str, dict[str, Any]]:
    from tocsin.contract.plugin import Detector
    from tocsin.worker import assembly
    from tocsin_dashboards.grafana import INSTALL

    try:
        from tocsin_dashboards.building import build as made

        return made(list(assembly.catalogue(config).of(Detector).values()))  # type: ignore[type-abstract]
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("grafana_foundation_sdk"):
            raise
        raise InputError(INSTALL) from None


def _grafana(ctx: click.Context, config: Config) -> Grafana:
    from tocsin.clock import SystemClock
    from tocsin.config.secret import Secret
    from tocsin_dashboards.grafana import Grafana

    given = config.grafana
    if not given.url or given.token is None:
        raise config.error(
            "no Grafana is named: set `grafana.url` and `grafana.token` in tocsin.yaml", ("grafana",)
        )
    token = config.at(("grafana", "token"), lambda: Secret.parse(given.token, config.folder).reveal())
    trusted = str(config.folder / given.ca_certs) if given.ca_certs else None
    found = Grafana(given.url, token, SystemClock(), ca_certs=trusted)
    ctx.call_on_close(found.close)
    return found


COMMANDS = (dashboards,)
