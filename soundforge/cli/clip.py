"""`soundforge clip`: what made a clip (`info FILE`), and the library's clips (`list`, `delete`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from soundforge.cli.library_files import add_library_commands
from soundforge.cli.output import JsonFlag, console, print_json

app = typer.Typer(no_args_is_help=True, help="Look into clips; list and delete those of the library.")


@app.command("info")
def info(file: Annotated[Path, typer.Argument(metavar="FILE", help="A WAV that SoundForge wrote.")],
         json: JsonFlag = False) -> None:
    """Show the request, seed, model and tempo that made a clip."""
    from soundforge.wav import read_info

    found = read_info(file)
    record = {key: value for key, value in found.record.items() if key != "codes"}
    codes = found.record.get("codes")
    facts: dict[str, Any] = {
        "file": str(file), "seconds": found.seconds, "sample_rate": found.sample_rate, "channels": found.channels,
        "bits": found.bits, "bpm": found.bpm, "beats": found.acid.beats if found.acid else None,
        "codes": codes.get("shape") if isinstance(codes, dict) else None, **record}
    if json:
        print_json(facts)
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _rows(facts):
        table.add_row(name, value)
    console.print(table, markup=False)
    if not found.record:
        console.print("SoundForge did not write this file, or another program dropped its record.")


add_library_commands(app, "clip")


def _rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Facts as lines; the request's own fields follow, without those that were left at nothing."""
    request = facts.get("request") or {}
    sampling = request.get("sampling") or {}
    shape = facts["codes"]
    rows = [("file", facts["file"]),
            ("audio", f"{facts['seconds']:.3f} s, {facts['sample_rate']} Hz, {facts['channels']} ch, "
                      f"{facts['bits']} bit"),
            ("tempo", f"{facts['bpm']:g} bpm" if facts["bpm"] else ""),
            ("model", facts.get("model") or ""), ("seed", str(facts["seed"]) if "seed" in facts else ""),
            ("codes", f"{shape[0]} codebooks, {shape[1]} frames" if shape else ""),
            ("prompt", f"{facts['prompt_samples']} samples" if facts.get("prompt_samples") else ""),
            ("text", request.get("text") or "")]
    rows += [(name, _plain(value)) for name, value in {**request, **sampling}.items()
             if name not in ("text", "sampling", "seed") and value not in (None, {}, [], "", False)]
    rows += [(name, _plain(value)) for name, value in (facts.get("info") or {}).items()]
    rows.append(("software", str(facts.get("software") or "")))
    return [(name, value) for name, value in rows if value]


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    return str(value)
