"""`soundforge serve`'s flags and its status line; the running server is tested in tests/rig and tests/live."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from soundforge.cli.serve import facts
from soundforge.cli.serve_options import LIST_FLAGS, spread
from soundforge.cli.status_line import StatusLine, event_line, status_text
from soundforge.live.latency import DeviceReport
from soundforge.requests import CaptureEvent, JobEvent, NoticeEvent, StatusEvent, TransportEvent
from soundforge.settings import load_settings

STATUS = StatusEvent("playing", "starter", 2, 3.456, 1, 0, 0)
ROLLING = TransportEvent("internal", 97.5, True, 9.25)


def test_a_list_flag_takes_several_words() -> None:
    assert spread(["--midi-in", "A", "B C", "--bpm", "90", "--osc-allow", "10.0.0.2", "10.0.0.3"]) == [
        "--midi-in", "A", "--midi-in", "B C", "--bpm", "90", "--osc-allow", "10.0.0.2", "--osc-allow", "10.0.0.3"]
    assert spread(["--midi-in"]) == ["--midi-in"]
    assert {"--midi-in", "--osc-allow", "--no-plugin"} <= set(LIST_FLAGS)


def test_a_player_is_told_of_the_device_and_its_latency() -> None:
    device = DeviceReport("card", 44_100, 128, 5.26, 7.31, "calibrated", 1.0, 0.0)
    played = facts(load_settings({"output": "Card", "osc_host": "0.0.0.0"}, environ={}), device)
    assert ("sound: input default, output Card, 44100 Hz, 128 samples a block; latency in 5.3 ms, out 7.3 ms "
            "(calibrated)") in played
    assert "--osc-allow" in played[-1]
    offline = facts(load_settings({"offline_device": True}, environ={}), device)
    assert "sound: offline device, 44100 Hz, 128 samples a block" in offline


def test_the_status_line_shows_state_tempo_and_place() -> None:
    text = status_text(STATUS, ROLLING, 4).plain
    assert text == "● playing    starter  97.5 bpm (internal)  bar 3.2  2 waiting  3.5 x real time  1 underruns"
    assert "stopped" in status_text(STATUS, TransportEvent("midi", 120, False, 0.0), 4).plain


@pytest.mark.parametrize(("event", "line"), [
    (JobEvent("playing", "mine", clip="clip-0001", beat=16.0), "mine: plays clip-0001 at beat 16"),
    (JobEvent("done", "mine", clip="clip-0001", seconds=8.0, file="/x.wav"), "mine: clip-0001, 8.00 s, /x.wav"),
    (JobEvent("error", "mine", what="disk full"), "mine: failed: disk full"),
    (JobEvent("progress", "mine", fraction=0.5), ""),
    (CaptureEvent("take", "riff", 8.0, -3.25), "take riff: 8.00 s, peak -3.2 dB"),
    (NoticeEvent("warning", "the device is gone"), "warning: the device is gone"),
])
def test_what_happens_is_told_in_a_line(event: JobEvent | CaptureEvent | NoticeEvent, line: str) -> None:
    assert event_line(event) == line


def test_without_a_terminal_only_changes_are_written() -> None:
    out = io.StringIO()
    with StatusLine(Console(file=out, width=100)) as line:
        for state in ("loading", "loading", "ready", "playing", "ready", "error"):
            line.update(StatusEvent(state, "starter", 0, 0.0, 0, 0, 0), ROLLING)
        line.tell(NoticeEvent("info", "[brackets] stay"))
    assert out.getvalue().splitlines() == ["loading: starter", "model: starter", "[brackets] stay"]


def test_on_a_terminal_the_line_is_redrawn() -> None:
    out = io.StringIO()
    with StatusLine(Console(file=out, width=100, force_terminal=True)) as line:
        line.update(STATUS, ROLLING)
        line.update(StatusEvent("ready", "starter", 0, 0.0, 0, 0, 0), ROLLING)
    assert "playing" in out.getvalue()
    assert "ready" in out.getvalue()


class ClosedTerminal(io.StringIO):
    """A terminal whose window is closed after some writing."""

    open = True

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not self.open:
            raise OSError(5, "Input/output error")
        return super().write(text)


def test_the_music_goes_on_when_the_terminal_is_closed() -> None:
    terminal = ClosedTerminal()
    with StatusLine(Console(file=terminal, force_terminal=True, width=100)) as line:
        line.update(STATUS, ROLLING)
        terminal.open = False
        for _ in range(2):
            line.update(STATUS, ROLLING)
            line.tell(NoticeEvent("error", "nobody reads this"))
    assert "playing" in terminal.getvalue() and "nobody" not in terminal.getvalue()
