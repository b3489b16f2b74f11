"""`soundforge pull NAME`: fetch a published checkpoint and what it needs, after showing its licence."""

from __future__ import annotations

from typing import Annotated

import typer

from soundforge.cli.output import errors


def pull(name: Annotated[str, typer.Argument(metavar="NAME", help="Hub name, such as facebook/musicgen-small.")],
         ) -> None:
    """Fetch a published checkpoint into the hub's cache; shows its licence first."""
    from soundforge.checkpoints import hub
    from soundforge.plugin_manager import PluginManager

    if any(name in family.embedded for family in PluginManager().registries.model_families.values()):
        typer.echo(f"{name} is part of SoundForge; there is nothing to fetch")
        return
    folder = hub.pull(name, say=lambda line: errors.print(line, markup=False))
    typer.echo(str(folder))
