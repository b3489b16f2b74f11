"""Surfaces that speak addresses of their own: translated by a file, there and back, read again when it changes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from osc_peer import Client, Running, running
from session_double import MemorySession

from soundforge import SettingsError
from soundforge_bridges.osc import remap_file
from soundforge_bridges.osc.feedback import MAX_SURFACES, Feedback
from soundforge_bridges.osc.remap import Scaling
from soundforge_bridges.osc.remap_file import parse_address_map, read_address_map
from soundforge_bridges.osc.replies import Outgoing

LAYOUT = """
[addresses]
"/1/fader1" = { to = "/soundforge/param/temperature", low = 0, high = 2 }
"/1/rotary2" = { to = "/soundforge/param/top_k", low = 1, high = 1000, curve = "log", in_high = 127 }
"/1/push1" = { to = "/soundforge/continue" }
"/1/push2" = { to = "/soundforge/generate", arguments = ["warm dub", 4] }
"/1/xy" = [{ to = "/soundforge/param/cfg", low = 0, high = 10 }, { to = "/soundforge/param/top_p", argument = 2 }]
"/1/pad1" = { to = "/soundforge/pad/play", arguments = [1, "$1"] }
"/1/words" = { to = "/soundforge/param/text" }

[feedback]
"/1/label1" = { from = "/soundforge/status" }
"/1/led1" = { from = "/soundforge/transport", argument = 3 }
"""


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    path = tmp_path / "touch.toml"
    path.write_text(LAYOUT)
    return path


@pytest.fixture
def server(session: MemorySession, layout: Path) -> Iterator[Running]:
    with running(session, map_file=layout) as started:
        yield started


@pytest.fixture
def surface(server: Running) -> Iterator[Client]:
    client = Client(server.bridge.port)
    yield client
    client.close()


def called(session: MemorySession, count: int) -> list[tuple[Any, ...]]:
    end = time.monotonic() + 5
    while len(session.calls) < count and time.monotonic() < end:
        time.sleep(0.01)
    return session.calls


def test_faders_buttons_pads_and_words(session: MemorySession, surface: Client) -> None:
    session.pads[1] = "loop"
    surface.send("/1/fader1", 0.25)
    surface.send("/1/rotary2", 127.0)
    surface.send("/1/push1", 1.0)
    surface.send("/1/push1", 0.0)
    surface.send("/1/push2", 1)
    surface.send("/1/xy", 0.5, 0.75)
    surface.send("/1/pad1", 0.625)
    surface.send("/1/words", "slow")
    assert called(session, 8) == [
        ("set_param", "temperature", 0.5), ("set_param", "top_k", 1000.0), ("continue_take", "", None, ""),
        ("generate", "warm dub", 4.0, ""), ("set_param", "cfg", 5.0), ("set_param", "top_p", 0.75),
        ("play_pad", 1, 0.625), ("set_param", "text", "slow")]
    heard = surface.drain()
    assert all(address.startswith("/1/") for address, _ in heard), "our own addresses mean nothing to a surface"


def test_a_new_surface_is_told_where_everything_stands_and_of_changes(session: MemorySession, server: Running,
                                                                      surface: Client) -> None:
    surface.send("/1/words", "slow")
    heard = dict(surface.drain())
    assert heard["/1/fader1"] == (0.5,) and heard["/1/label1"] == ("ready",)
    assert heard["/1/rotary2"][0] == pytest.approx(127 * 0.7993, abs=0.1) and "/1/words" not in heard
    other = Client(server.bridge.port)
    other.send("/soundforge/param/temperature", 2.0)
    assert surface.receive() == ("/1/fader1", (1.0,))
    other.send("/soundforge/transport/stop")
    assert surface.receive() == ("/1/led1", (0,))
    surface.send("/1/fader1", 0.125)
    assert other.until("/soundforge/param/temperature")[1] == (2.0,)
    assert surface.nothing(), "it is not sent back what it has just sent"
    other.close()


def test_a_fader_for_whole_numbers_is_rounded_and_not_pushed_back(session: MemorySession, surface: Client) -> None:
    surface.send("/1/rotary2", 1.0)
    surface.drain()
    for step in (60.0, 60.1, 60.2):
        surface.send("/1/rotary2", step)
    values = {call[2] for call in called(session, 3) if call[1] == "top_k"}
    assert all(isinstance(value, int) for value in values)
    assert surface.nothing(), "the knob stands where it was put, not where the whole number would be"


def test_errors_name_their_address(surface: Client) -> None:
    surface.drain()
    surface.send("/1/xy", 0.5)
    assert surface.until("/soundforge/error")[1][0] == "/1/xy"
    surface.send("/1/pad1", 1.0)
    where, what = surface.until("/soundforge/error")[1]
    assert where == "/1/pad1" and "empty" in what
    surface.send("/1/unknown", 1.0)
    assert "no such address" in surface.until("/soundforge/error")[1][1]


def test_the_file_is_read_again_and_a_wrong_one_changes_nothing(session: MemorySession, layout: Path,
                                                                surface: Client) -> None:
    lines: list[str] = []
    session.listeners.append(lambda event, origin: lines.append(getattr(event, "what", "")))

    def rewrite(text: str, wanted: str) -> None:
        layout.write_text(text)
        os.utime(layout, ns=(time.time_ns(), time.time_ns()))
        end = time.monotonic() + 10
        while time.monotonic() < end and not any(wanted in line for line in lines):
            time.sleep(0.02)
        assert any(wanted in line for line in lines), lines

    rewrite("[addresses]\n'/1/fader1' = { to = '/soundforge/nope' }\n", "no address of ours")
    surface.send("/1/fader1", 0.5)
    assert called(session, 1) == [("set_param", "temperature", 1.0)]
    rewrite("[addresses]\n'/9/x' = { to = '/soundforge/param/cfg' }\n", "was read again")
    surface.drain()
    surface.send("/9/x", 0.5)
    assert called(session, 2)[-1] == ("set_param", "cfg", 0.5)
    surface.send("/1/fader1", 0.5)
    assert "no such address" in surface.until("/soundforge/error")[1][1]


@pytest.mark.parametrize(("text", "what"), [
    ("nonsense = 1", "expected feedback_port, addresses, feedback"), ("feedback_port = 0", "expected 1 to 65535"),
    ("addresses = 3", "expected a section"), ("[addresses]\nfader = {}", "is no OSC address"),
    ("[addresses]\n'/a' = {}", "expected a table with"), ("[addresses]\n'/a' = { to = '/x' }", "no address of ours"),
    ("[addresses]\n'/a' = { to = '/soundforge/param/volume' }", "param came as 'volume'"),
    ("[addresses]\n'/a' = { to = '/soundforge/param/cfg', low = 'x' }", "expected a number"),
    ("[addresses]\n'/a' = { to = '/soundforge/param/cfg', low = 1 }", "two different ones"),
    ("[addresses]\n'/a' = { to = '/soundforge/param/cfg', curve = 'log' }", "log with both above 0"),
    ("[addresses]\n'/a' = { to = '/soundforge/param/cfg', press = 1 }", "true or false"),
    ("[addresses]\n'/a' = { to = '/soundforge/param/cfg', argument = 0 }", "a whole number from 1 to 256"),
    ("[addresses]\n'/a' = { to = '/soundforge/param/cfg', arguments = {} }", "a list of texts"),
    ("[feedback]\n'/a' = { from = '/soundforge/nope' }", "which we never send"), ("[[", "cannot read the OSC map")])
def test_wrong_files_say_where(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "map.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=what) as raised:
        read_address_map(path)
    assert "map.toml" in str(raised.value) and "\n" not in str(raised.value)


def test_the_example_in_the_docstring_is_read(tmp_path: Path) -> None:
    text = (remap_file.__doc__ or "").partition("\n\n")[2].partition("\nWhat comes")[0]
    path = tmp_path / "example.toml"
    path.write_text(text)
    read = read_address_map(path)
    assert len(read.incoming) == 6 and read.feedback_port == 9000


@given(low=st.floats(0.01, 1e4), high=st.floats(0.01, 1e4), in_low=st.floats(-10, 10), in_high=st.floats(-10, 10),
       at=st.floats(0, 1), curve=st.sampled_from(["linear", "log"]))
def test_scaling_there_and_back(low: float, high: float, in_low: float, in_high: float, at: float,
                                curve: Any) -> None:
    if abs(high - low) < 0.01 or abs(in_high - in_low) < 0.01:
        return
    scaling = Scaling(low, high, in_low, in_high, curve)
    theirs = in_low + at * (in_high - in_low)
    ours = scaling.value(theirs)
    assert min(low, high) - 1e-6 <= ours <= max(low, high) + 1e-6
    assert scaling.back(ours) == pytest.approx(theirs, abs=1e-3 * max(1.0, abs(in_high - in_low)))


def test_surfaces_are_bounded_and_a_feedback_port_is_used() -> None:
    sent: list[tuple[bytes, tuple[str, int]]] = []
    feedback = Feedback(lambda data, where: sent.append((data, where)))
    feedback.use(parse_address_map({"feedback_port": 9000, "addresses": {
        "/f": {"to": "/soundforge/param/gain", "high": 2}}}))
    for number in range(MAX_SURFACES + 20):
        feedback.heard((f"10.0.0.{number}", 5), "/f", (0.5,))
    feedback.send(Outgoing("/soundforge/param/gain", "f", (2.0,)))
    assert len(sent) == MAX_SURFACES and {where[1] for _, where in sent} == {9000}
