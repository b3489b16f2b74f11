"""`soundforge devices`: sound cards and MIDI ports that can be named in `serve`."""

from __future__ import annotations

from rich.table import Table

from soundforge.cli.output import JsonFlag, console, print_json
from soundforge.hardware import audio_devices, midi_ports


def devices(json: JsonFlag = False) -> None:
    """List sound devices and MIDI ports."""
    audio, audio_note = audio_devices()
    midi, midi_note = midi_ports()
    if json:
        print_json({"audio": audio, "audio_note": audio_note, "midi": midi, "midi_note": midi_note})
        return
    if audio:
        table = Table(title="Sound devices", title_justify="left", box=None, pad_edge=False)
        for column in ("#", "name", "host", "in", "out", "rate", ""):
            table.add_column(column, justify="right" if column in ("#", "in", "out", "rate") else "left")
        for d in audio:
            marks = [word for word in ("input", "output") if d[f"default_{word}"]]
            table.add_row(str(d["index"]), d["name"], d["host"], str(d["inputs"]), str(d["outputs"]),
                          f"{d['rate_hz']:g}", f"default {' and '.join(marks)}" if marks else "")
        console.print(table)
    if audio_note:
        console.print(audio_note, markup=False)
    console.print()
    for kind in ("inputs", "outputs"):
        console.print(f"MIDI {kind}: {', '.join(midi[kind]) or 'none'}", markup=False)
    if midi_note:
        console.print(midi_note, markup=False)
