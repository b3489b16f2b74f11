"""`soundforge take import FILE`: a recording becomes a take, which a running server can go on from at once."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from soundforge.audio import read
from soundforge.cli.library_files import LibraryOption, add_library_commands, open_library
from soundforge.cli.output import console
from soundforge.errors import AudioError, LibraryError, RequestError
from soundforge.library import Library
from soundforge.library_ids import MAX_ID_CHARACTERS, check_id
from soundforge.requests import MAX_BPM, MIN_BPM
from soundforge.take import Take
from soundforge.wav import read_take

app = typer.Typer(no_args_is_help=True, help="Takes of the library: bring recordings in, list, delete.")


@app.command("import")
def import_(files: Annotated[list[Path], typer.Argument(metavar="FILE", help="WAV, FLAC, Ogg or MP3.")],
            name: Annotated[str | None, typer.Option("--name", metavar="ID", help=(
                "The take's name; unset = made from the file's."))] = None,
            bpm: Annotated[float | None, typer.Option("--bpm", metavar="BPM", help=(
                "Its tempo; unset = the one that the file carries, if any."))] = None,
            library: LibraryOption = None) -> None:
    """Copy recordings into the library as takes, for /soundforge/continue and as conditions (take:ID)."""
    if name is not None and len(files) > 1:
        raise RequestError(f"--name came with {len(files)} files, expected one; leave it out to name takes by file")
    if bpm is not None and not MIN_BPM <= bpm <= MAX_BPM:
        raise RequestError(f"--bpm came as {bpm:g}, expected {MIN_BPM:g} to {MAX_BPM:g}")
    opened = open_library(library)
    for file in files:
        take = as_take(file, bpm)
        chosen = free_name(opened, name, file)
        entry = opened.save_take(take, chosen)
        tempo = f", {entry.bpm:g} bpm" if entry.bpm else ""
        console.print(f"take {entry.id}: {entry.seconds:.2f} s, {entry.sample_rate} Hz, {entry.channels} ch{tempo}",
                      markup=False)


add_library_commands(app, "take")


def as_take(file: Path, bpm: float | None) -> Take:
    """A sound file as a take; a WAV's own tempo is kept where none is given. Raises AudioError."""
    try:
        take = read_take(file)
    except AudioError:
        take = Take(read(file))  # no WAV, or one that only libsndfile can read: its tempo is not known
    if not take.waveform.n_samples:
        raise AudioError(f"{str(file)!r} holds no samples; give a recording")
    return replace(take, source=file.name, bpm=bpm if bpm is not None else take.bpm)


def free_name(library: Library, wanted: str | None, file: Path) -> str:
    """The take's id: as wanted, else from the file's name, with a number where that is taken. Raises LibraryError."""
    taken = {entry.id.lower() for entry in library.list("take")}
    if wanted is not None:
        if check_id(wanted, "take").lower() in taken:
            raise LibraryError(f"take {wanted!r} exists; choose another name, or delete it first "
                               f"(soundforge take delete {wanted})")
        return wanted
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", file.stem).strip("-_.")[:MAX_ID_CHARACTERS - 5].rstrip("-_.")
    try:
        stem = check_id(stem, "take")
    except LibraryError:
        return library.next_id("take")
    return next(name for name in (stem, *(f"{stem}-{number}" for number in range(2, 10_000)))
                if name.lower() not in taken)
