"""The whole table over real UDP: every address, with values that tell swapped arguments apart."""

from __future__ import annotations

import math
from typing import Any

import pytest
from osc_peer import Client, Running
from session_double import MemorySession

from soundforge.requests import (
    CaptureEvent,
    ClipEvent,
    Event,
    JobEvent,
    NoticeEvent,
    StatusEvent,
    TransportEvent,
)
from soundforge_bridges.osc.reader import read_packet
from soundforge_bridges.osc.replies import REPLIES, from_event
from soundforge_bridges.osc.table import COMMANDS, find

CLIP = ("/soundforge/clip", ("drums", 4.5, 93.0, "/library/drums.wav"))
STATUS = ("/soundforge/status", ("ready", "tiny", 0, 1.5, 2, 3, 4))

# address, arguments, what the session must have been called with, what comes back
ROUND: list[tuple[str, tuple[Any, ...], tuple[Any, ...] | None, tuple[str, tuple[Any, ...]]]] = [
    ("/soundforge/ping", (1, 2.5, "x", b"blob", True, None), None,
     ("/soundforge/pong", (1, 2.5, "x", b"blob", True, None))),
    ("/soundforge/status", (), None, STATUS),
    ("/soundforge/device", (), None,
     ("/soundforge/device", ("card", 48_000, 256, 5.5, 7.25, "calibrated", -12.5, 3.0))),
    ("/soundforge/param/cfg", (4.5,), ("set_param", "cfg", 4.5), ("/soundforge/param/cfg", (4.5,))),
    ("/soundforge/param/top_k", (), None, ("/soundforge/param/top_k", (250,))),
    ("/soundforge/param/guidance/chroma", (0.5,), None, ("/soundforge/error", ())),
    ("/soundforge/param/text", ("dub",), ("set_param", "text", "dub"), ("/soundforge/param/text", ("dub",))),
    ("/soundforge/param/text", ("",), ("set_param", "text", ""), ("/soundforge/param/text", ("",))),
    ("/soundforge/param/seconds", ("",), None, ("/soundforge/param/seconds", (8.0,))),
    ("/soundforge/condition/chroma", ("take:take-0001",), ("set_condition", "chroma", "take:take-0001"),
     ("/soundforge/condition/chroma", ("take:take-0001",))),
    ("/soundforge/condition/chords", (), ("set_condition", "chords", ""), ("/soundforge/condition/chords", ("",))),
    ("/soundforge/capture/start", ("mine",), ("capture_start", "mine"), ("/soundforge/capture/started", ("mine",))),
    ("/soundforge/capture/start", (4.0,), ("capture_start", "4"), ("/soundforge/capture/started", ("4",))),
    ("/soundforge/capture/bars", (3.0, "b"), ("capture_bars", 3, "b"), ("/soundforge/capture/started", ("b",))),
    ("/soundforge/continue", ("mine", 6, "j1"), ("continue_take", "mine", 6.0, "j1"),
     ("/soundforge/job/accepted", ("j1",))),
    ("/soundforge/continue", (), ("continue_take", "", None, ""), ("/soundforge/job/accepted", ("job-1",))),
    ("/soundforge/continue", (7, "", 12.0), ("continue_take", "7", None, "12"), ("/soundforge/job/accepted", ("12",))),
    ("/soundforge/generate", ("dub", 5.5, "j2"), ("generate", "dub", 5.5, "j2"), ("/soundforge/job/accepted", ("j2",))),
    ("/soundforge/generate", ("", None, 1234567), ("generate", None, None, "1.23457e+06"),
     ("/soundforge/job/accepted", ("1.23457e+06",))),
    ("/soundforge/generate/endless", ("dub", "j9"), ("generate", "dub", None, "j9", "endless"),
     ("/soundforge/job/accepted", ("j9",))),
    ("/soundforge/continue/endless", ("mine",), ("continue_take", "mine", None, "", "endless"),
     ("/soundforge/job/accepted", ("job-1",))),
    ("/soundforge/regenerate", ("j3",), ("regenerate", "j3"), ("/soundforge/job/accepted", ("j3",))),
    ("/soundforge/takeover", (4.0, 8, "j4"), ("takeover", 4, 8, "j4"), ("/soundforge/job/accepted", ("j4",))),
    ("/soundforge/takeover", (2,), ("takeover", 2, 0, ""), ("/soundforge/job/accepted", ("job-1",))),
    ("/soundforge/clip/play", ("drums", True), ("clip_play", "drums", True, 1.0), CLIP),
    ("/soundforge/clip/stop", ("drums",), ("clip_stop", "drums"), CLIP),
    ("/soundforge/clip/stop", ("drums", 1), ("clip_stop", "drums", "on_grid"), CLIP),
    ("/soundforge/clip/list", (), None, CLIP),
    ("/soundforge/clip/info", ("drums",), None, CLIP),
    ("/soundforge/clip/delete", ("drums",), ("clip_delete", "drums"), CLIP),
    ("/soundforge/clip/pad", ("drums", 11), ("clip_pad", "drums", 11), CLIP),
    ("/soundforge/pad/play", (3.0, 0.5), ("play_pad", 3, 0.5), ("/soundforge/pad", (3, "loop", 0, 1.0, "retrigger"))),
    ("/soundforge/pad/stop", (3,), ("stop_pad", 3), ("/soundforge/pad", (3, "loop", 0, 1.0, "retrigger"))),
    ("/soundforge/pad/set", (2, 1, 0.5, "gate"), None, ("/soundforge/pad", (2, "", 1, 0.5, "gate"))),
    ("/soundforge/pad/clear", (3,), ("clip_pad", "", 3), ("/soundforge/pad", (3, "", 0, 1.0, "retrigger"))),
    ("/soundforge/pad/list", (), None, ("/soundforge/pad", (1, "", 0, 1.0, "retrigger"))),
    ("/soundforge/transport", (), None, ("/soundforge/transport", ("internal", 120.0, 1, 0.0))),
    ("/soundforge/transport/tempo", (93,), ("set_tempo", 93.0), ("/soundforge/transport", ("internal", 93.0, 1, 0.0))),
    ("/soundforge/transport/tempo", (), None, ("/soundforge/transport", ("internal", 120.0, 1, 0.0))),
    ("/soundforge/transport/start", (), ("transport_start",), ("/soundforge/transport", ("internal", 120.0, 1, 0.0))),
    ("/soundforge/transport/stop", (), ("transport_stop",), ("/soundforge/transport", ("internal", 120.0, 0, 0.0))),
    ("/soundforge/transport/position", (7.5,), ("transport_position", 7.5),
     ("/soundforge/transport", ("internal", 120.0, 1, 7.5))),
    ("/soundforge/transport/source", ("midi",), ("transport_source", "midi"),
     ("/soundforge/transport", ("midi", 120.0, 1, 0.0))),
    ("/soundforge/transport/signature", (7, 8), ("transport_signature", 7, 8),
     ("/soundforge/transport", ("internal", 120.0, 1, 0.0))),
    ("/soundforge/model", ("other",), ("load_model", "other"), STATUS),
    ("/soundforge/panic", (), ("panic",), STATUS),
    ("/soundforge/cancel", ("*",), ("cancel", "*"), ("/soundforge/job/cancelled", ("*",))),
]


@pytest.mark.parametrize(("address", "arguments", "call", "answer"), ROUND, ids=lambda v: str(v)[:40])
def test_round_trip(session: MemorySession, client: Client, address: str, arguments: tuple[Any, ...],
                    call: tuple[Any, ...] | None, answer: tuple[str, tuple[Any, ...]]) -> None:
    if "guidance" in address:
        session.params["guidance/chroma"] = 1.0
        call, answer = ("set_param", "guidance/chroma", 0.5), (address, (0.5,))
    session.add_clip("drums")
    session.pads[3] = "loop"
    client.send(address, *arguments)
    assert client.until(answer[0]) == answer
    assert ([] if call is None else [call]) == session.calls


def test_every_address_is_in_the_round() -> None:
    tested = {found[0].address for address, *_ in ROUND if (found := find(address))}
    special = {"/soundforge/commands", "/soundforge/subscribe", "/soundforge/unsubscribe", "/soundforge/capture/stop",
               "/soundforge/release"}
    assert tested | special == {command.address for command in COMMANDS} and not tested & special


def test_capture_stop_and_release(session: MemorySession, client: Client) -> None:
    client.send("/soundforge/capture/start", "x")
    client.send("/soundforge/capture/stop")
    client.send("/soundforge/release")
    assert client.until("/soundforge/take") == ("/soundforge/take", ("x", 2.5, -6.25))
    client.send("/soundforge/ping")
    client.until("/soundforge/pong")
    assert session.calls == [("capture_start", "x"), ("capture_stop",), ("release",)]


def test_commands_lists_the_table(client: Client) -> None:
    client.send("/soundforge/commands")
    rows = [client.receive() for _ in COMMANDS]
    assert [row[1][0] for row in rows] == [command.address for command in COMMANDS]
    by_address = {row[1][0]: row[1] for row in rows}
    assert by_address["/soundforge/continue"][1] == "[s:take] [f:seconds] [s:id]"
    assert by_address["/soundforge/clip/pad"][1] == "s:clip i:pad"
    assert all(isinstance(text, str) and text for text in by_address["/soundforge/ping"])


def test_clip_list_has_an_end(session: MemorySession, client: Client) -> None:
    session.add_clip("a")
    session.add_clip("b")
    client.send("/soundforge/clip/list")
    assert [client.receive()[1][0] for _ in range(3)] == ["a", "b", 2]


BAD = [
    ("/soundforge/nope", (), "no such address"),
    ("/nope", (), "no such address"),
    ("/soundforge/param/", (), "no such address"),
    ("/soundforge/p*", (), "no such address"),
    ("/soundforge/param/zzz", (1.0,), "param came as 'zzz', expected one of"),
    ("/soundforge/param/cfg", (math.nan,), "cfg came as nan, expected -1000000 to 1000000"),
    ("/soundforge/param/cfg", (-math.inf,), "cfg came as -inf"),
    ("/soundforge/param/cfg", (b"xx",), "value came as a blob"),
    ("/soundforge/param/cfg", (1, 2), "2 arguments came, expected value"),
    ("/soundforge/param/cfg", ("loud",), "cfg came as 'loud', expected a number"),
    ("/soundforge/continue", ("t", math.nan), "seconds came as nan, expected a number from 0.02 to 3600"),
    ("/soundforge/continue", ("t", 1e30), "seconds came as 1e+30, expected a number from 0.02 to 3600"),
    ("/soundforge/continue", ("t", -1), "seconds came as -1"),
    ("/soundforge/continue", ("t", "soon"), "seconds came as 'soon', expected a number"),
    ("/soundforge/continue", ("t", 1, "id", 2), "4 arguments came, expected s:take f:seconds s:id"),
    ("/soundforge/generate", (5.0,), "text came as the number 5, expected a text"),
    ("/soundforge/takeover", (2.5,), "bars_in came as 2.5, expected a whole number from 1 to 1000"),
    ("/soundforge/takeover", (0,), "bars_in came as 0"),
    ("/soundforge/capture/bars", (math.inf,), "n came as inf"),
    ("/soundforge/cancel", (), "id is missing"),
    ("/soundforge/clip/play", (), "clip is missing, expected a text"),
    ("/soundforge/clip/play", ("nope",), "not in the library"),
    ("/soundforge/clip/play", ("../../etc/passwd",), "not in the library"),
    ("/soundforge/clip/pad", ("drums", 17), "pad came as 17, expected a whole number from 1 to 16"),
    ("/soundforge/clip/pad", ("drums",), "pad is missing"),
    ("/soundforge/transport/tempo", (19.9,), "bpm came as 19.9, expected a number from 20 to 999"),
    ("/soundforge/transport/signature", (0, 4), "beats_per_bar came as 0"),
    ("/soundforge/transport/source", ("moon",), "expected internal, midi, link or jack"),
    ("/soundforge/status", (1,), "1 arguments came, expected no arguments"),
    ("/soundforge/subscribe", (0,), "port came as 0, expected a whole number from 1 to 65535"),
    ("/soundforge/subscribe", (70_000,), "port came as 70000"),
    ("/soundforge/unsubscribe", (), "is not subscribed"),
    ("/soundforge/capture/stop", (), "nothing is captured"),
]


@pytest.mark.parametrize(("address", "arguments", "what"), BAD, ids=lambda v: str(v)[:40])
def test_errors(session: MemorySession, client: Client, address: str, arguments: tuple[Any, ...], what: str) -> None:
    session.add_clip("drums")
    got, (where, text) = client.ask(address, *arguments)
    assert (got, where) == ("/soundforge/error", address) and what in text and "\n" not in text
    assert session.calls == [], "nothing is carried out in part"
    assert client.ask("/soundforge/ping", 1) == ("/soundforge/pong", (1,))


def test_a_fault_in_the_session_is_answered(session: MemorySession, client: Client) -> None:
    session.release = lambda job: 1 / 0
    got, (where, text) = client.ask("/soundforge/release")
    assert (got, where) == ("/soundforge/error", "/soundforge/release") and "internal error: division" in text
    assert client.ask("/soundforge/ping")[0] == "/soundforge/pong"


# --- replies ----------------------------------------------------------------------------------------------

EVENTS: list[tuple[Event, str, tuple[Any, ...]]] = [
    (JobEvent("accepted", "j"), "/soundforge/job/accepted", ("j",)),
    (JobEvent("progress", "j", fraction=0.25), "/soundforge/job/progress", ("j", 0.25)),
    (JobEvent("playing", "j", clip="c", beat=16.5), "/soundforge/job/playing", ("j", "c", 16.5)),
    (JobEvent("done", "j", clip="c", seconds=4.5, file="/f"), "/soundforge/job/done", ("j", "c", 4.5, "/f")),
    (JobEvent("error", "j", what="no"), "/soundforge/job/error", ("j", "no")),
    (JobEvent("cancelled", "j"), "/soundforge/job/cancelled", ("j",)),
    (CaptureEvent("started", "t"), "/soundforge/capture/started", ("t",)),
    (CaptureEvent("take", "t", 2.5, -3.5, 9.0), "/soundforge/take", ("t", 2.5, -3.5)),
    (ClipEvent("info", "c", 1.5, 90.0, "/f"), "/soundforge/clip", ("c", 1.5, 90.0, "/f")),
    (ClipEvent("rendered", "c", 1.5, 90.0, "/f"), "/soundforge/clip", ("c", 1.5, 90.0, "/f")),
    (ClipEvent("playing", "c"), "/soundforge/clip/playing", ("c",)),
    (ClipEvent("stopped", "c"), "/soundforge/clip/stopped", ("c",)),
    (ClipEvent("deleted", "c"), "/soundforge/clip/deleted", ("c",)),
    (TransportEvent("midi", 93.5, True, 7.25), "/soundforge/transport", ("midi", 93.5, 1, 7.25)),
    (StatusEvent("ready", "m", 1, 2.5, 3, 4, 5), "/soundforge/status", ("ready", "m", 1, 2.5, 3, 4, 5)),
    (NoticeEvent("warning", "device lost"), "/soundforge/notice", ("warning", "device lost")),
]


@pytest.mark.parametrize(("event", "address", "values"), EVENTS, ids=lambda v: str(v)[:30])
def test_every_event_reaches_a_subscriber(server: Running, client: Client, event: Event, address: str,
                                          values: tuple[Any, ...]) -> None:
    client.send("/soundforge/subscribe")
    client.until("/soundforge/status")
    server.call(server.session.emit, event)
    assert client.receive() == (address, values)
    assert address in REPLIES and REPLIES[address][0].count(":") == len(values)


def test_large_seeds_are_told_whole(session: MemorySession, client: Client) -> None:
    from pythonosc.osc_message_builder import OscMessageBuilder

    builder = OscMessageBuilder("/soundforge/param/seed")
    builder.add_arg(2**53, "h")
    client.send_raw(builder.build().dgram)
    assert client.receive() == ("/soundforge/param/seed", (2**53,))
    assert session.params["seed"] == 2**53


def test_answers_never_fail_to_be_built() -> None:
    hostile = StatusEvent("re\0ady\udcff", "m" * 100_000, 2**40, math.inf, -2**40, 0, 0)
    [message] = read_packet(from_event(hostile).encode())
    assert message.values[0] == "re ady?" and len(str(message.values[1])) == 4000
    assert message.values[2:5] == (2**31 - 1, pytest.approx(3.4e38, rel=0.01), -2**31)
    [message] = read_packet(from_event(JobEvent("progress", "j", fraction=math.nan)).encode())
    assert message.values == ("j", 0.0)
