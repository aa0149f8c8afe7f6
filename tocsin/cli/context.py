"""The configuration file of a command, and the app that is built from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tocsin.worker.app import App


def config_path(ctx: click.Context) -> Path | None:
    """The configuration file that --config names, else ./tocsin.yaml; None if there is no such file."""
    given: Path | None = ctx.find_root().obj
    if given is not None:
        return given
    default = Path("tocsin.yaml")
    return default if default.exists() else None


def open_app(ctx: click.Context) -> App:
    """The app of that configuration file; it is closed when the command ends."""
    from tocsin.worker.app import App

    app = App.open(config_path(ctx))
    ctx.call_on_close(app.close)
    return app
