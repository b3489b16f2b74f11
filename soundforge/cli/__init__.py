"""The command `soundforge`: one file per command, put together here.

Importing this package imports neither torch nor sounddevice, so `soundforge --help` is quick; a command imports
what it needs when it runs. Errors are one line on standard error, with exit status 2 for wrong usage and 1 for a
failure; `--debug` shows the traceback, and the log file always has it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from soundforge.cli.output import INTERRUPTED, USAGE, errors, exit_status, one_line, usage_text

log = logging.getLogger("soundforge.cli")

app = typer.Typer(name="soundforge", no_args_is_help=True, add_completion=True, rich_markup_mode="rich",
                  pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]},
                  help="Generative music inside your set-up: it listens, and plays on from the bar line.")


def _version(wanted: bool) -> None:
    if wanted:
        from soundforge.version import __version__

        typer.echo(f"soundforge {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Full tracebacks and a chatty log.")] = False,
    log_file: Annotated[Path | None, typer.Option("--log", metavar="FILE", help="Log to this file.")] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True,
                                          help="Print the version and leave.")] = False,
) -> None:
    from soundforge.logfile import start_log

    context.obj = {"debug": debug, "log": start_log(log_file, debug=debug)}


def _add_commands() -> None:
    from soundforge.cli import bench, clip, convert, devices, doctor, models, plugin, plugins, pull, render, serve, take

    for module in (render, serve, devices, plugins, models, doctor, pull, convert, bench):
        name = module.__name__.rpartition(".")[2]
        app.command(name)(getattr(module, name))
    app.add_typer(clip.app, name="clip")
    app.add_typer(take.app, name="take")
    app.add_typer(plugin.app, name="plugin")


def hoist(arguments: Sequence[str]) -> list[str]:
    """`--debug` and `--log FILE` brought to the front, so that they may stand after the command as well."""
    front: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            rest += ["--", *waiting]
        elif argument == "--debug" or argument.startswith("--log="):
            front.append(argument)
        elif argument == "--log":
            front += [argument, *[value for value in [next(waiting, None)] if value is not None]]
        else:
            rest.append(argument)
    return front + rest


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit status."""
    from soundforge.cli.serve_options import spread

    given = hoist(sys.argv[1:] if arguments is None else arguments)
    if "serve" in given:
        given = spread(given)
    try:
        status = app(args=given, prog_name="soundforge", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        errors.print("soundforge: interrupted")
        status = INTERRUPTED
    except BrokenPipeError:
        # `soundforge models | head`: the reader has had enough, which is no failure of ours.
        sys.stderr.close()
        status = 0
    except Exception as error:
        if "--debug" in given and usage_text(error) is None:
            raise
        status = tell(error, given)
    sys.exit(status if isinstance(status, int) else 0)


def tell(error: Exception, given: Sequence[str]) -> int:
    """One line about an error on standard error; the exit status that goes with it."""
    usage = usage_text(error)
    if usage is None:
        log.error("the command failed: %s", given, exc_info=error)
    elif not usage:
        return USAGE  # the parser has printed the help already
    errors.print(f"soundforge: {usage or one_line(error)}", style="red", markup=False, soft_wrap=True)
    return exit_status(error) if usage is None else USAGE


_add_commands()
