"""`soundforge doctor`: checks this machine and says what to do."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from soundforge.cli.output import FAILURE, JsonFlag, console, print_json

MARKS = {"good": "[green]ok  [/green]", "note": "[yellow]note[/yellow]", "bad": "[red]bad [/red]"}


def doctor(
    context: typer.Context,
    json: JsonFlag = False,
    library: Annotated[Path | None, typer.Option("--library", metavar="DIR", help="Folder to check.")] = None,
    osc_port: Annotated[int | None, typer.Option("--osc-port", metavar="PORT", help="Port to check.")] = None,
) -> None:
    """Check PortAudio, MIDI, torch, model files, write access and clock; exit status 1 when something is bad."""
    from soundforge.doctor import examine, log_folder_hint
    from soundforge.settings import load_settings

    settings = load_settings({"library": library, "osc_port": osc_port})
    checks = []
    for check in examine(settings):
        checks.append(check)
        if not json:
            console.print(f"{MARKS[check.level]}  [bold]{check.name:<10}[/bold] {escape(check.found)}")
            if check.todo:
                console.print(f"{'':17}→ {check.todo}", markup=False)
    if json:
        print_json([asdict(check) for check in checks])
    else:
        console.print(log_folder_hint(context.obj["log"]), markup=False)
    if any(check.level == "bad" for check in checks):
        raise typer.Exit(FAILURE)
