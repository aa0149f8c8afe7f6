"""`tocsin`: the command group, and `main`, which prints an error as one line."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import click

from tocsin import logs
from tocsin.cli import (
    alerts,
    baseline,
    collect,
    configure,
    cover,
    dashboards,
    demo,
    detect,
    events,
    explain,
    plugins,
    report,
    run,
    store,
)
from tocsin.cli.context import Readable
from tocsin.cli.output import Exit, print_text
from tocsin.errors import ConfigError, PluginError, TocsinError

_COMMANDS = (
    configure,
    collect,
    events,
    explain,
    baseline,
    detect,
    cover,
    alerts,
    run,
    plugins,
    store,
    dashboards,
    report,
    demo,
)

# Detectors fit many small models, one after the other. OpenMP's threads spin while they wait for each other: on a
# busy machine a fit of 0.3 s took 80 s (measured). libgomp reads the variable when it is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@click.group(cls=Readable, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="TOCSIN_CONFIG",
    help="Configuration file. Default: $TOCSIN_CONFIG or ./tocsin.yaml. Without a file, all settings have their defaults.",
)
@click.version_option(package_name="tocsin")
@click.pass_context
def tocsin(ctx: click.Context, config: Path | None) -> None:
    """Security telemetry and anomaly detection for machine-learning pipelines."""
    ctx.obj = config


for module in _COMMANDS:
    for command in module.COMMANDS:
        tocsin.add_command(command)


def main() -> None:
    """Run a command; print an error that the user can act on as one line, without a traceback."""
    for stream in (
        sys.stdout,
        sys.stderr,
    ):  # a character that the terminal cannot show becomes a question mark
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    logs.configure()
    try:
        code = tocsin.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = Exit.USAGE
    except click.exceptions.Abort:
        print_text("stopped", err=True)
        code = Exit.FAILED
    except (ConfigError, PluginError) as error:
        print_text(f"error: {error}", err=True)
        code = Exit.USAGE
    except TocsinError as error:
        print_text(f"error: {error}", err=True)
        code = Exit.FAILED
    except BrokenPipeError:  # `tocsin events … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.DONE
    sys.exit(code or Exit.DONE)


if __name__ == "__main__":
    main()
