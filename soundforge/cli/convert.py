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
    quantize: Annotated[str | None, typer.Option("--quantize", metavar="int8|int4",
                                                 help="Smaller, faster weights, with a small loss.")] = None,
) -> None:
    """Write a checkpoint in the native form: one self-contained folder that loads by memory mapping."""
    from soundforge.checkpoints.native_convert import convert as convert_checkpoint
    from soundforge.host import create_host

    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CheckpointError(f"DST came as {str(target)!r}, which exists already; give a new folder")
    with busy(f"converting {source}"):
        parts = convert_checkpoint(create_host(), source, target, quantize=quantize)
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    typer.echo(f"{target}: {size / 1e6:.1f} MB, licence of the weights: {parts.licence or 'see the source'}")
