"""The configuration file of a command, and the app that is built from it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tocsin.errors import StoreError

if TYPE_CHECKING:
    from tocsin.worker.app import App

_APP = "tocsin.app"


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
    ctx.meta[_APP] = app
    ctx.call_on_close(app.close)
    return app


class Readable(click.Group):
    """Commands that read a store: if a file of the store is damaged, the error is a sentence that names the file."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except _store_faults() as error:
            from tocsin.worker.stores import damaged

            app: App | None = ctx.meta.get(_APP)
            why = damaged(app.store) if app else ""
            why = why or f"the store cannot be read: {str(error).partition(chr(10))[0]}"
            raise StoreError(why) from error


def _store_faults() -> tuple[type[BaseException], ...]:
    """The errors that Polars raises if a file of the store is damaged; none while Polars is not loaded."""
    polars = sys.modules.get("polars")
    return (polars.exceptions.PolarsError, polars.exceptions.PanicException) if polars else ()
