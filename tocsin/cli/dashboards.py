"""`tocsin dashboards`: write Grafana's dashboards as files, or to a Grafana over its API."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tocsin.cli.context import config_path
from tocsin.cli.output import Exit, json_option, print_text, show
from tocsin.cli.tables import Column
from tocsin.cli.values import clean
from tocsin.errors import InputError

if TYPE_CHECKING:
    from tocsin.config.settings import Config
    from tocsin_dashboards.changes import Change
    from tocsin_dashboards.grafana import Grafana

_COLUMNS = (
    Column("state"),
    Column("kind"),
    Column("uid"),
    Column("title", minor=True),
    Column("reason", sentence=True),
)
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
sources_option = click.option(
    "--sources",
    type=_FILE,
    help="Include the data sources in this file, such as deploy/grafana/datasources/tocsin.yml.",
)
alerting_option = click.option(
    "--alerting",
    type=_FILE,
    help="Include the alert rules and the contact point in this file, such as deploy/grafana/alerting/tocsin.yml.",
)
overwrite_option = click.option(
    "--overwrite",
    is_flag=True,
    help="Also replace dashboards that a user changed. Grafana's version history keeps the user's version.",
)
prune_option = click.option(
    "--prune", is_flag=True, help="Delete dashboards that an earlier push wrote and that are no longer built."
)


@click.group()
def dashboards() -> None:
    """Build Grafana's dashboards as files, or write them to a Grafana over its API."""


@dashboards.command()
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write only the dashboards, to this folder. Default: all files that compose.yaml mounts.",
)
@click.option("--check", is_flag=True, help="Write nothing. Exit 1 if any file is out of date.")
@json_option
@click.pass_context
def build(ctx: click.Context, folder: Path | None, check: bool, as_json: bool) -> None:
    """Write each dashboard to a file, for Grafana's file provisioning, and remove the files of obsolete dashboards.

    Without --to, start the command in Tocsin's repository: it writes the dashboards, their data sources and Grafana's
    alert rules to the folders that compose.yaml mounts.
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
    show(rows, ("state", "file"), as_json=as_json, empty="every file is up to date")
    if check and rows:
        ctx.exit(Exit.FAILED)


def _files(folder: Path | None, built: Mapping[str, Any]) -> tuple[dict[Path, str], list[Path]]:
    """Each file with its text, and files of dashboards that are no longer built."""
    from tocsin_dashboards import alert_rules, changes, source_file

    place = folder or Path(changes.FOLDER)
    if folder is None and not (place.parent.is_dir() and alert_rules.RULES.is_file()):
        raise InputError(
            f"{place.parent} does not exist: start this command in Tocsin's repository, or use --to FOLDER"
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
    """Show how Grafana's dashboards differ from the built dashboards. Exit 1 if any differs."""
    changes = _plan(ctx, sources, alerting)
    _print(changes, as_json=as_json)
    if any(change.state != "unchanged" and change.kind != "policy" for change in changes):
        ctx.exit(Exit.FAILED)


@dashboards.command()
@sources_option
@alerting_option
@overwrite_option
@prune_option
@click.option("--yes", is_flag=True, help="Write without confirmation.")
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
    """Show the differences, ask for confirmation, and write the built dashboards to Grafana.

    A push does not replace a dashboard that a user changed in Grafana, unless --overwrite is set. It never writes
    dashboards that are not Tocsin's, such as an analyst's copies, and it never changes existing data sources. A second
    push writes nothing.
    """
    changes = _plan(ctx, sources, alerting, overwrite=overwrite, prune=prune)
    if not as_json:
        _print(changes, as_json=False)
    if any(change.apply for change in changes) and not yes:
        if as_json or not sys.stdin.isatty():
            raise click.UsageError(
                "standard input is no terminal, so the command cannot ask: check `tocsin dashboards diff`, then use --yes"
            )
        click.confirm("Write this to Grafana?", abort=True)
    done = _written(changes)
    if as_json:
        _print(done, as_json=True)
        return
    for was, now in zip(changes, done, strict=True):
        if was.state != now.state:  # another push or a user changed it in between
            print_text(f"{now.uid}: {now.state}: {now.reason}", err=True)
    written = sum(_is_written(was, now) for was, now in zip(changes, done, strict=True))
    print_text(f"{written} written" if written else "nothing to write", err=True)


def _is_written(was: Change, now: Change) -> bool:
    return was.apply is not None and now.state == was.state


def _written(changes: Sequence[Change]) -> list[Change]:
    """The result of each change; a change that fails ends the push, after the changes before it are listed."""
    from tocsin_dashboards.grafana import GrafanaError

    done: list[Change] = []
    for change in changes:
        try:
            done.append(change.apply() if change.apply else change)
        except GrafanaError:
            written = [was.uid for was, now in zip(changes, done, strict=False) if _is_written(was, now)]
            if written:
                before = f"the push failed at {change.uid}; written before that: {', '.join(written)}"
                print_text(f"{before}; another push writes the rest", err=True)
            raise
    return done


@dashboards.command()
@click.argument("uid")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the patch to this file. Default: standard output.",
)
@click.pass_context
def pull(ctx: click.Context, uid: str, output: Path | None) -> None:
    """Write the changes that users made to dashboard UID in Grafana as a patch.

    Apply the patch with `git apply` in Tocsin's repository.
    """
    from tocsin.config.load import load
    from tocsin.config.params import unknown
    from tocsin_dashboards import provision

    config = load(config_path(ctx))
    built = _built(config)
    if uid not in built:
        raise InputError(unknown(uid, built, "dashboard"))
    patch = provision.pull(_grafana(ctx, config), uid, built[uid])
    if not patch:
        print_text(f"dashboard {uid} in Grafana is the same as the built one", err=True)
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


def _print(changes: Sequence[Change], *, as_json: bool) -> None:
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
