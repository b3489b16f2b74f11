"""What `soundforge take` and `soundforge clip` share: the library's folder, and the commands `list` and `delete`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from soundforge.cli.output import JsonFlag, console, print_json
from soundforge.library import Kind, Library
from soundforge.settings import load_settings

LibraryOption = Annotated[Path | None, typer.Option("--library", metavar="DIR", help=(
    "Folder with takes and clips (the one of `soundforge serve`)."))]

NamesArgument = Annotated[list[str], typer.Argument(metavar="ID", help="What to delete.")]


def add_library_commands(app: typer.Typer, kind: Kind) -> None:
    """Give a group of commands `list` and `delete` for takes or clips."""

    @app.command("list", help=f"List the library's {kind}s, oldest first.")
    def list_(library: LibraryOption = None, json: JsonFlag = False) -> None:
        show_list(kind, library, json)

    @app.command("delete", help=f"Delete {kind}s and their files.")
    def delete_(names: NamesArgument, library: LibraryOption = None) -> None:
        delete(kind, names, library)


def open_library(folder: Path | None) -> Library:
    """The library that `serve` would use; a running server notices what is changed in it. Raises LibraryError."""
    settings = load_settings({"library": folder})
    return Library(settings.library, settings.library_limit_bytes, settings.bits)


def show_list(kind: Kind, folder: Path | None, json: bool) -> None:
    """All takes or clips, oldest first."""
    library = open_library(folder)
    entries = library.list(kind)
    if json:
        print_json([{"id": e.id, "seconds": e.seconds, "sample_rate": e.sample_rate, "channels": e.channels,
                     "bpm": e.bpm or None, "bytes": e.file_bytes, "file": str(e.path)} for e in entries])
        return
    table = Table(box=None, pad_edge=False)
    for column in (kind, "seconds", "rate", "ch", "bpm", "MiB"):
        table.add_column(column, justify="left" if column == kind else "right")
    for e in entries:
        table.add_row(e.id, f"{e.seconds:.2f}", f"{e.sample_rate}", f"{e.channels}", f"{e.bpm:g}" if e.bpm else "",
                      f"{e.file_bytes / 2**20:.1f}")
    console.print(table, markup=False)
    console.print(f"{len(entries)} {kind}s; the library {library.folder} holds {library.used_bytes / 2**20:.1f} MiB of "
                  f"at most {library.limit_bytes / 2**20:.0f}", markup=False, soft_wrap=True)


def delete(kind: Kind, names: list[str], folder: Path | None) -> None:
    """Delete takes or clips with their files; raises LibraryError at the first that is not there."""
    library = open_library(folder)
    for name in names:
        library.info(kind, name)
    for name in names:
        library.delete(kind, name)
        console.print(f"deleted {kind} {name}", markup=False)
