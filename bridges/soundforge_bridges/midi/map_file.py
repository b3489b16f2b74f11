"""The MIDI map as a TOML file, in and out. What the file does not name stays as in the default map.

    channel = 1                  # 1 to 16, 0 = every channel
    default = true               # false: begin with an empty map

    [notes]
    36 = "capture-hold"
    38 = "none"                  # takes a note out of the default map
    43 = { action = "takeover", bars_in = 2, bars_out = 0 }
    "64-79" = "pad"              # sixteen notes, pads 1 to 16
    80 = { action = "pad", pad = 3 }

    [controls]
    7 = { param = "gain", low = 0, high = 2 }
    74 = { param = "top_k", low = 1, high = 1000, curve = "log" }
    64 = "release"

    [programs]
    0 = "warm lo-fi drums"

    [chords]
    channel = 2                  # chords played there become the condition chords
    beats = 16                   # of a phrase that goes round
    grid = 1                     # in beats
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soundforge import RequestError, SettingsError
from soundforge.live.params import find_param
from soundforge_bridges.midi.chords import ChordInput
from soundforge_bridges.midi.map import ACTIONS, DEFAULT, PADS, TOP, MidiMap, NoteAction, Scale
from soundforge_bridges.toml_map import read_toml_map

_SECTIONS = ("channel", "default", "notes", "controls", "programs", "chords")


def read_map(path: Path) -> MidiMap:
    """The map in a TOML file.

    Raises:
        SettingsError: unreadable, or an entry makes no sense; names the file and the entry.
    """
    return read_toml_map(path, "MIDI map", '[notes] 36 = "capture-hold"', parse_map)


def parse_map(values: Mapping[str, Any]) -> MidiMap:
    """A map from what TOML holds; raises SettingsError naming the entry."""
    for key in values:
        if key not in _SECTIONS:
            raise SettingsError(f"the MIDI map holds {key!r}, expected {', '.join(_SECTIONS)}")
    base = DEFAULT if _typed(values, "default", bool, True) else MidiMap()
    channel = _whole("channel", values.get("channel", 1), 0, 16)
    notes, controls, programs = dict(base.notes), dict(base.controls), dict(base.programs)
    for key, value in _typed(values, "notes", dict, {}).items():
        for number, action in _notes(key, value).items():
            if action is None:
                notes.pop(number, None)
            else:
                notes[number] = action
    for key, value in _typed(values, "controls", dict, {}).items():
        number = _key("controls", key)
        if value == "none":
            controls.pop(number, None)
        else:
            controls[number] = _control(f"controls.{key}", value)
    for key, value in _typed(values, "programs", dict, {}).items():
        if not isinstance(value, str):
            raise SettingsError(f"programs.{key} came as {value!r}, expected a text")
        programs[_key("programs", key)] = value
    return MidiMap(channel, notes, controls, programs, _chords(_typed(values, "chords", dict, {})))


def write_map(midi_map: MidiMap) -> str:
    """A map as TOML, complete: reading it back gives the same map."""
    lines = [f"channel = {midi_map.channel}", "default = false", "", "[notes]"]
    for number, action in sorted(midi_map.notes.items()):
        extra = f", pad = {action.pad}" if action.action == "pad" else ""
        if action.action == "takeover":
            extra = f", bars_in = {action.bars_in}, bars_out = {action.bars_out}"
        lines.append(f'{number} = {{ action = "{action.action}"{extra} }}')
    lines += ["", "[controls]"]
    for number, control in sorted(midi_map.controls.items()):
        if isinstance(control, str):
            lines.append(f'{number} = "{control}"')
        else:
            lines.append(f'{number} = {{ param = "{control.param}", low = {control.low!r}, high = {control.high!r}, '
                         f'curve = "{control.curve}" }}')
    lines += ["", "[programs]"]
    # A JSON string is a TOML basic string but for DEL and for escaped pairs of surrogates, so nothing more is escaped.
    lines += [f"{number} = {json.dumps(text, ensure_ascii=False).replace(chr(127), chr(92) + 'u007f')}"
              for number, text in sorted(midi_map.programs.items())]
    if midi_map.chords is not None:
        lines += ["", "[chords]", f"channel = {midi_map.chords.channel}", f"beats = {midi_map.chords.beats!r}",
                  f"grid = {midi_map.chords.grid!r}"]
    return "\n".join(lines) + "\n"


def _notes(key: str, value: Any) -> dict[int, NoteAction | None]:
    """One entry of [notes]: a number, or a range of as many pads."""
    where = f"notes.{key}"
    first, dash, last = key.partition("-")
    if dash:
        low, high = _key("notes", first), _key("notes", last)
        if value != "pad" or not 0 < high - low + 1 <= PADS:
            raise SettingsError(f'{where} came as {value!r} for {high - low + 1} notes, expected "pad" for 1 to {PADS}')
        return {low + i: NoteAction("pad", pad=i + 1) for i in range(high - low + 1)}
    number = _key("notes", key)
    if value == "none":
        return {number: None}
    table = {"action": value} if isinstance(value, str) else value
    if not isinstance(table, dict) or set(table) - {"action", "pad", "bars_in", "bars_out"}:
        raise SettingsError(f'{where} came as {value!r}, expected an action, or a table with action, pad, bars_in, '
                            "bars_out")
    action = table.get("action")
    if not isinstance(action, str) or action not in ACTIONS:
        raise SettingsError(f"{where} came as {action!r}, expected none, {', '.join(ACTIONS)}")
    pad = 0
    if action == "pad":
        pad = _whole(f"{where}.pad", table.get("pad"), 1, PADS)
    return {number: NoteAction(action, pad, _whole(f"{where}.bars_in", table.get("bars_in", 4), 1, 1000),
                               _whole(f"{where}.bars_out", table.get("bars_out", 4), 0, 1000))}


def _control(where: str, value: Any) -> Scale | str:
    if isinstance(value, str):
        possible = [action for action in ACTIONS if action not in ("pad", "capture-hold")]
        if value not in possible:
            raise SettingsError(f"{where} came as {value!r}, expected none, a table with param, low and high, or one "
                                f"of {', '.join(possible)}")
        return value
    if not isinstance(value, dict) or set(value) - {"param", "low", "high", "curve"} or "param" not in value:
        raise SettingsError(f"{where} came as {value!r}, expected a table with param, low, high and curve")
    try:
        param = find_param(str(value["param"]))
        low, high = (float(param.check(value.get(name, limit))) for name, limit in (("low", param.low),
                                                                                     ("high", param.high)))
    except (RequestError, TypeError, ValueError) as error:
        raise SettingsError(f"{where}: {error}") from None
    curve = value.get("curve", "linear")
    if curve not in ("linear", "log"):
        raise SettingsError(f"{where}.curve came as {curve!r}, expected linear or log")
    if curve == "log" and not (low > 0 and high > 0):
        raise SettingsError(f"{where} goes from {low:g} to {high:g} with curve log, expected both above 0")
    return Scale(param.name, low, high, curve)


def _chords(table: Mapping[str, Any]) -> ChordInput | None:
    if not table:
        return None
    if set(table) - {"channel", "beats", "grid"} or "channel" not in table:
        raise SettingsError(f"chords came as {dict(table)!r}, expected channel, and perhaps beats and grid")
    channel = _whole("chords.channel", table["channel"], 1, 16)
    beats, grid = (table.get(name, default) for name, default in (("beats", 16.0), ("grid", 1.0)))
    for name, value, high in (("beats", beats, 256), ("grid", grid, 64)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= high:
            raise SettingsError(f"chords.{name} came as {value!r}, expected a number of beats above 0, at most {high}")
    if grid > beats:
        raise SettingsError(f"chords.grid came as {grid:g}, expected at most the {beats:g} beats of the phrase")
    return ChordInput(channel, float(beats), float(grid))


def _key(section: str, key: str) -> int:
    if not key.isascii() or not key.isdigit() or int(key) > TOP:
        raise SettingsError(f"{section}.{key} is no MIDI number, expected 0 to {TOP}")
    return int(key)


def _whole(where: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SettingsError(f"{where} came as {value!r}, expected a whole number from {low} to {high}")
    return value


def _typed(values: Mapping[str, Any], key: str, kind: type, default: Any) -> Any:
    value = values.get(key, default)
    if not isinstance(value, kind):
        what = "true or false" if kind is bool else "a section such as [" + key + "]"
        raise SettingsError(f"{key} came as {value!r}, expected {what}")
    return value
