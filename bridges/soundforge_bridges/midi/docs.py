"""Writes `docs/midi.md` from the map: `python -m soundforge_bridges.midi.docs [FILE]`. A test keeps it current."""

from __future__ import annotations

import inspect
import textwrap

from soundforge_bridges.docs_page import write_page
from soundforge_bridges.midi import map_file
from soundforge_bridges.midi.lights import CAPTURE, DIM, JOBS, PLAYING
from soundforge_bridges.midi.map import ACTIONS, DEFAULT, PADS, Scale

HEAD = """# MIDI map

*Made from the code by `python -m soundforge_bridges.midi.docs docs/midi.md`; change the table, not this page.*

`soundforge serve --midi-in NAME` opens inputs by a part of their name (several may be given; `soundforge devices` lists
them); without it SoundForge makes an input of its own called `SoundForge`, on systems that can (Linux, macOS), to which
other programs connect. A port that is not there is waited for, and one that goes is opened again when it comes back.

This is the default map; `--midi-map FILE.toml` changes any of it. A note-on with velocity 0 is a note-off. When a
controller sends faster than SoundForge reads, older values of the same controller are skipped; notes never are.
"""


def page() -> str:
    """The whole page."""
    first_pad = min(note for note, bound in DEFAULT.notes.items() if bound.action == "pad")
    lines = [HEAD, f"## Notes (channel {DEFAULT.channel})", "", "| note | action | |", "|---|---|---|"]
    for note, bound in sorted(DEFAULT.notes.items()):
        if bound.action != "pad":
            more = f" ({bound.bars_in} bars in, {bound.bars_out} bars out)" if bound.action == "takeover" else ""
            lines.append(f"| {note} | `{bound.action}` | {ACTIONS[bound.action]}{more} |")
    lines += [f"| {first_pad} to {first_pad + PADS - 1} | `pad` | pads 1 to {PADS}: {ACTIONS['pad']} |", "",
              "## Controllers", "", "| controller | does |", "|---|---|"]
    for number, target in sorted(DEFAULT.controls.items()):
        if isinstance(target, Scale):
            curve = ", by equal ratios" if target.curve == "log" else ""
            lines.append(f"| {number} | `{target.param}` from {target.low:g} to {target.high:g}{curve} |")
        else:
            lines.append(f"| {number} | `{target}`: {ACTIONS[target]} |")
    lines += ["", "## Programs", "", "Program Change picks a text for `param/text`: from `[programs]` in the map file, "
              "else from `presets` in `soundforge.toml`, counted from 0.", "",
              "## Clock", "", "With `--clock midi` (or `/soundforge/transport/source midi`) MIDI clock drives the "
              "transport: 24 ticks a beat, Start, Stop, Continue, Song Position. Jitter is filtered over two beats. "
              "When the clock is lost for a second, the transport goes on at the last tempo, and says so. "
              "While it comes, tempo, start, stop and position are its sender's to change.", "",
              "`--midi-clock-out NAME` sends our own clock to an output: 24 ticks a beat, each when its beat is heard; "
              "Start at beat 0, elsewhere Song Position and Continue at the next sixteenth, Stop. The output is "
              "chosen at the start of the server. See [transport](transport.md).", "",
              "## The map file", "", "What the file does not name stays as above.", "",
              "```toml", _example(), "```", "",
              "`soundforge serve --midi-learn` asks for one control after the other, and writes such a file (to "
              "`--midi-map`, else `midi-map.toml` beside `soundforge.toml`); what is not played in 15 s stays.", "",
              "Actions: " + ", ".join(f"`{name}`" for name in ACTIONS) + "; `none` takes an entry out.", "",
              "A controller with an action acts when it passes the middle upwards; 120 and above act at every message.",
              "", "## Lights (`--midi-out NAME`)", "", "| notes of | lit (velocity 127) while |", "|---|---|"]
    for actions, when in ((CAPTURE, "something is recorded"), (JOBS, "a job waits or runs"),
                          (PLAYING, "a clip plays")):
        lines.append(f"| {', '.join(f'`{action}`' for action in actions)} | {when} |")
    lines.append(f"| `pad` | its clip plays; dim (velocity {DIM}) while it holds a clip |")
    lines += ["", "Dark is velocity 0. When the output opens, every controller is sent once, at its parameter's value."]
    return "\n".join(lines) + "\n"


def _example() -> str:
    """The example in the parser's own docstring, which a test reads with the parser."""
    text = inspect.getdoc(map_file) or ""
    return textwrap.dedent(text.partition("\n\n")[2]).strip()


if __name__ == "__main__":
    write_page(page)
