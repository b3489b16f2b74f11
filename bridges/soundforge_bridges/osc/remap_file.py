"""The map of addresses as a TOML file, for surfaces that cannot be told what to send.

    feedback_port = 9000         # where the surface listens; left out = the port it sends from

    [addresses]
    "/1/fader1" = { to = "/soundforge/param/temperature", low = 0, high = 2 }
    "/1/rotary2" = { to = "/soundforge/param/top_k", low = 1, high = 1000, curve = "log" }
    "/1/push1" = { to = "/soundforge/continue" }                       # a button: acts when it is pressed
    "/1/push2" = { to = "/soundforge/generate", arguments = ["warm dub", 4] }
    "/1/xy" = [{ to = "/soundforge/param/cfg", low = 0, high = 10 },   # both values of one message
               { to = "/soundforge/param/top_p", argument = 2 }]
    "/1/pad1" = { to = "/soundforge/pad/play", arguments = [1, "$1"] } # "$1" = the first value that came, scaled

    [feedback]
    "/1/label1" = { from = "/soundforge/status" }
    "/1/led1" = { from = "/soundforge/job/progress", argument = 2 }

What comes is taken as `in_low` to `in_high` (0 to 1). A parameter's address gets the value; every other one is a
button, which acts above the middle and hands on only what `arguments` names (`press = false`: acts on every message).
Feedback for parameters goes back to the same addresses by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soundforge import RequestError, SettingsError
from soundforge.live.params import find_param
from soundforge_bridges.osc.handlers import PREFIX
from soundforge_bridges.osc.remap import AddressMap, Echo, Scaling, Target
from soundforge_bridges.osc.replies import REPLIES
from soundforge_bridges.osc.table import find
from soundforge_bridges.toml_map import read_toml_map

PARAM = f"{PREFIX}/param/"
MAX_ENTRIES = 4096
_TO = {"to", "low", "high", "in_low", "in_high", "curve", "argument", "arguments", "press"}
_FROM = {"from", "low", "high", "in_low", "in_high", "curve", "argument"}


def read_address_map(path: Path) -> AddressMap:
    """*Disk.* The map in a TOML file.

    Raises:
        SettingsError: unreadable, or an entry makes no sense; names the file and the entry.
    """
    return read_toml_map(path, "OSC map", '[addresses] "/1/push1" = { to = "/soundforge/continue" }', parse_address_map)


def parse_address_map(values: Mapping[str, Any]) -> AddressMap:
    """A map from what TOML holds; raises SettingsError naming the entry."""
    for key in values:
        if key not in ("feedback_port", "addresses", "feedback"):
            raise SettingsError(f"the OSC map holds {key!r}, expected feedback_port, addresses, feedback")
    port = values.get("feedback_port")
    if port is not None and (isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536):
        raise SettingsError(f"feedback_port came as {port!r}, expected 1 to 65535")
    incoming, outgoing = {}, dict[str, list[Echo]]()
    for address, entry in _section(values, "addresses").items():
        where = f"addresses.{_address(address)!r}"
        targets = tuple(_target(where, each) for each in (entry if isinstance(entry, list) else [entry]))
        incoming[address] = targets
        for target in targets:
            if target.to.startswith(PARAM) and target.arguments == (f"${target.argument}",) and len(targets) == 1:
                outgoing.setdefault(target.to, []).append(Echo(address, fader=target))
    for address, entry in _section(values, "feedback").items():
        ours, echo = _echo(f"feedback.{_address(address)!r}", address, entry)
        outgoing.setdefault(ours, []).append(echo)
    return AddressMap(incoming, {ours: tuple(echoes) for ours, echoes in outgoing.items()}, port)


def _target(where: str, entry: Any) -> Target:
    _known(where, entry, _TO, "to")
    to = entry["to"]
    if not isinstance(to, str) or find(to) is None:
        raise SettingsError(f"{where}.to came as {to!r}, which is no address of ours; docs/osc.md lists them")
    is_param = to.startswith(PARAM)
    if is_param:
        try:
            find_param(to.removeprefix(PARAM))
        except RequestError as error:
            raise SettingsError(f"{where}.to: {error}") from None
    argument = _number(where, entry, "argument")
    arguments = entry.get("arguments", [f"${argument}"] if is_param else [])
    if not isinstance(arguments, list) or not all(isinstance(item, (str, int, float)) for item in arguments):
        raise SettingsError(f"{where}.arguments came as {arguments!r}, expected a list of texts and numbers")
    press = entry.get("press", not is_param)
    if not isinstance(press, bool):
        raise SettingsError(f"{where}.press came as {press!r}, expected true or false")
    whole = is_param and find_param(to.removeprefix(PARAM)).kind == "integer"
    return Target(to, _scaling(where, entry), argument, tuple(arguments), press, whole)


def _echo(where: str, address: str, entry: Any) -> tuple[str, Echo]:
    _known(where, entry, _FROM, "from")
    ours = entry["from"]
    if ours not in REPLIES and not (isinstance(ours, str) and ours.startswith((PARAM, f"{PREFIX}/condition/"))):
        raise SettingsError(f"{where}.from came as {ours!r}, which we never send; docs/osc.md lists what we do")
    return ours, Echo(address, _number(where, entry, "argument"), _scaling(where, entry))


def _scaling(where: str, entry: Mapping[str, Any]) -> Scaling | None:
    if not {"low", "high", "in_low", "in_high", "curve"} & set(entry):
        return None
    numbers = {}
    for name, default in (("low", 0.0), ("high", 1.0), ("in_low", 0.0), ("in_high", 1.0)):
        value = entry.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e12:
            raise SettingsError(f"{where}.{name} came as {value!r}, expected a number")
        numbers[name] = float(value)
    curve = entry.get("curve", "linear")
    if curve not in ("linear", "log") or (curve == "log" and not (numbers["low"] > 0 and numbers["high"] > 0)):
        raise SettingsError(f"{where}.curve came as {curve!r} from {numbers['low']:g} to {numbers['high']:g}, expected "
                            "linear, or log with both above 0")
    if numbers["low"] == numbers["high"] or numbers["in_low"] == numbers["in_high"]:
        raise SettingsError(f"{where} goes from a number to the same number, expected two different ones")
    return Scaling(**numbers, curve=curve)


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = values.get(name, {})
    if not isinstance(section, dict) or len(section) > MAX_ENTRIES:
        raise SettingsError(f"{name} came as {type(section).__name__}, expected a section [{name}] of at most "
                            f"{MAX_ENTRIES} lines")
    return section


def _address(address: str) -> str:
    if not address.startswith("/") or " " in address or not address.isprintable() or len(address) > 200:
        raise SettingsError(f"{address[:80]!r} is no OSC address, expected '/' and printable characters without spaces")
    return address


def _known(where: str, entry: Any, names: set[str], needed: str) -> None:
    if not isinstance(entry, dict) or set(entry) - names or needed not in entry:
        raise SettingsError(f"{where} came as {str(entry)[:80]}, expected a table with {', '.join(sorted(names))}")


def _number(where: str, entry: Mapping[str, Any], name: str) -> int:
    value = entry.get(name, 1)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 256:
        raise SettingsError(f"{where}.{name} came as {value!r}, expected a whole number from 1 to 256")
    return value
