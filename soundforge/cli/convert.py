"""`soundforge convert SRC DST`: write a checkpoint in our own, memory-mapped form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from soundforge.cli.output import busy
from soundforge.errors import CheckpointError


def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A folder with a checkpoint, or a hub name.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="The folder to make.")],
) -> None:
    """Write a checkpoint in the native form: one self-contained folder that loads by memory mapping."""
    from soundforge.host import create_host
    from soundforge.interfaces import LanguageModelParts, LoadOptions

    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CheckpointError(f"DST came as {str(target)!r}, which exists already; give a new folder")
    host = create_host()
    with busy(f"reading {source}"):
        parts = host.load_model(source, LoadOptions("cpu"))
    if not isinstance(parts, LanguageModelParts):
        raise CheckpointError(f"{source!r} is no language model over codes; only those have a native form")
    from soundforge.checkpoints.native import save_native

    with busy(f"writing {target}"):
        save_native(parts, target, resolve=host.resolve)
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    typer.echo(f"{target}: {size / 1e6:.1f} MB, licence of the weights: {parts.licence or 'see the source'}")
