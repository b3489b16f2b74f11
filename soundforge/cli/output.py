"""What commands share: consoles, one-line errors, JSON, and options that several of them take."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from soundforge.errors import InputError, SoundForgeError

# Into a file or a pipe, wide enough that tables keep one row on one line.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 180)
errors = Console(stderr=True, highlight=False)

USAGE, FAILURE, INTERRUPTED = 2, 1, 130

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
ModelOption = Annotated[str | None, typer.Option("--model", "-m", metavar="MODEL", help=(
    "Embedded or hub name, or a folder with a checkpoint (starter)."))]
DeviceOption = Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:1 or mps.")]
PluginsDirOption = Annotated[Path | None, typer.Option("--plugins-dir", metavar="DIR",
                                                       help="Folder with plugins that are single files.")]
NoPluginOption = Annotated[list[str] | None, typer.Option("--no-plugin", metavar="NAME",
                                                          help="Leave this plugin out; may be repeated.")]


def exit_status(error: BaseException) -> int:
    """2 when what the user typed cannot be used, 1 for every other failure."""
    return USAGE if isinstance(error, InputError) else FAILURE


def one_line(error: BaseException) -> str:
    """An error's text on one line; ours speaks for itself, another's is named with its type."""
    text = " ".join(str(error).split())
    if isinstance(error, SoundForgeError):
        return text
    if isinstance(error, MemoryError):
        return "out of memory; take a smaller model, fewer seconds, or close other programs"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return f"unexpected {type(error).__name__}: {text or 'no text'} (a defect; run again with --debug and report it)"


def usage_text(error: BaseException) -> str | None:
    """What the option parser says is wrong, on one line; "" when it wants its help shown, None for other errors.

    The parser's classes are click's or typer's copy of them, depending on typer's version, so they are known by
    their methods.
    """
    if not hasattr(error, "format_message"):
        return None
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        return ""
    text = " ".join(str(error.format_message()).split()).rstrip(".").removeprefix("Invalid value: ")
    command = context.command_path if context is not None else "soundforge"
    text = text if text[:2].isupper() else f"{text[:1].lower()}{text[1:]}"
    return f"{text}; see `{command} --help`"


def usage_error(text: str) -> NoReturn:
    """Wrong usage that no single option can be blamed for."""
    raise typer.BadParameter(text)


def busy(text: str) -> AbstractContextManager[object]:
    """A spinner with a text while something takes long; nothing where nobody sees it turn."""
    return errors.status(text) if errors.is_terminal else nullcontext()


def print_json(value: Any) -> None:
    """Plain JSON on standard output: no colours, no wrapping, NaN never."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n")
