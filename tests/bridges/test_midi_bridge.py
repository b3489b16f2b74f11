"""The MIDI bridge: messages to session calls, floods, lights, ports that come and go."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mido
import pytest
from session_double import MemorySession

from soundforge import DeviceError, RequestError, SettingsError
from soundforge.requests import CaptureEvent, ClipEvent, JobEvent, ParamEvent
from soundforge_bridges.midi.bridge import MidiBridge
from soundforge_bridges.midi.dispatch import Dispatcher
from soundforge_bridges.midi.inbox import Inbox
from soundforge_bridges.midi.lights import Lights
from soundforge_bridges.midi.map import DEFAULT, MidiMap, NoteAction, Scale
from soundforge_bridges.midi.ports import match


def on(note: int, velocity: int = 100, channel: int = 0) -> mido.Message:
    return mido.Message("note_on", note=note, velocity=velocity, channel=channel)


def off(note: int, channel: int = 0) -> mido.Message:
    return mido.Message("note_off", note=note, channel=channel)


def cc(control: int, value: int, channel: int = 0) -> mido.Message:
    return mido.Message("control_change", control=control, value=value, channel=channel)


class Desk:
    """A dispatcher on a session, as the bridge wires them."""

    def __init__(self, session: MemorySession, midi_map: MidiMap = DEFAULT, presets: tuple[str, ...] = ()) -> None:
        self.session = session
        self.lines: list[str] = []
        self.dispatcher = Dispatcher(session, midi_map, presets, self.lines.append)
        session.add_listener(lambda event, origin: self.dispatcher.on_event(event))

    def play(self, *messages: mido.Message) -> list[tuple[Any, ...]]:
        self.session.calls.clear()
        for message in messages:
            self.dispatcher.on_message(message)
        return self.session.calls


@pytest.fixture
def desk(session: MemorySession) -> Desk:
    session.pads = {pad: f"clip-{pad}" for pad in range(1, 17)}
    return Desk(session, presets=("dub", "house"))


@pytest.mark.parametrize(("message", "call"), [
    (on(40), ("continue_take", "", None, "")), (on(41), ("generate", None, None, "")), (on(42), ("regenerate", "")),
    (on(43), ("takeover", 4, 4, "")), (on(45), ("silence",)), (on(47), ("cancel", "*")),
    (on(48, 127), ("play_pad", 1, 1.0)), (on(63, 64), ("play_pad", 16, 64 / 127)),
    (cc(20, 127), ("set_param", "temperature", 2.0)), (cc(21, 0), ("set_param", "cfg", 0.0)),
    (cc(22, 127), ("set_param", "top_k", 1000)), (cc(23, 0), ("set_param", "seconds", 1.0)),
    (cc(24, 127), ("set_param", "gain", 2.0)), (cc(25, 127), ("set_param", "crossfade_ms", 100.0)),
    (cc(120, 0), ("silence",)), (cc(123, 0), ("silence",)),
    (mido.Message("program_change", program=1), ("set_param", "text", "house")),
], ids=str)
def test_the_default_map(desk: Desk, message: mido.Message, call: tuple[Any, ...]) -> None:
    assert desk.play(message) == [call] and desk.lines == []


@pytest.mark.parametrize("message", [
    on(37), off(40), on(40, 0), on(40, channel=1), cc(19, 5), cc(120, 0, channel=9), cc(121, 0),
    mido.Message("pitchwheel", pitch=5), mido.Message("sysex", data=[1, 2]), mido.Message("clock"),
    mido.Message("polytouch", note=40, value=5), mido.Message("aftertouch", value=3), mido.Message("reset")], ids=str)
def test_what_the_map_does_not_name_is_left_alone(desk: Desk, message: mido.Message) -> None:
    assert desk.play(message) == [] and desk.lines == []


def test_hold_and_toggle(desk: Desk) -> None:
    assert desk.play(on(36), on(36), off(36), off(36)) == [("capture_start", ""), ("capture_stop",)]
    assert desk.play(on(36), on(36, 0)) == [("capture_start", ""), ("capture_stop",)]
    assert desk.play(on(38), off(38), on(38), off(38)) == [("capture_start", ""), ("capture_stop",)]
    desk.session.capture_start("by osc")
    assert desk.play(on(38)) == [("capture_stop",)], "the toggle ends what somebody else began"


@pytest.mark.parametrize("note", [40, 41, 42, 43])
def test_the_velocity_of_a_trigger_is_its_gain(desk: Desk, note: int) -> None:
    desk.play(on(note, 127), on(note, 32))
    assert desk.session.gains == [1.0, 32 / 127]


def test_a_pad_hears_of_its_release_once(desk: Desk) -> None:
    assert desk.play(on(50, 127), off(50), off(50)) == [("play_pad", 3, 1.0), ("release_pad", 3)]
    desk.session.pads.clear()
    assert desk.play(on(50, 127), off(50)) == [], "a press that was refused has no release"


def test_endless_actions(session: MemorySession) -> None:
    desk = Desk(session, MidiMap(1, {1: NoteAction("generate-endless"), 2: NoteAction("continue-endless"),
                                     3: NoteAction("release")}))
    assert desk.play(on(1), on(2), on(3)) == [("generate", None, None, "", "endless"),
                                              ("continue_take", "", None, "", "endless"), ("release",)]


def test_a_refused_capture_is_not_ended(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(take: str = "", origin: Any = None) -> None:
        raise RequestError("no input")

    monkeypatch.setattr(desk.session, "capture_start", refuse)
    assert desk.play(on(36), off(36)) == [] and desk.lines == ["no input"]


def test_held_notes_are_let_go_with_their_port(desk: Desk) -> None:
    desk.play(on(36))
    desk.session.calls.clear()
    desk.dispatcher.release_held()
    desk.dispatcher.release_held()
    assert desk.session.calls == [("capture_stop",)]


def test_refusals_are_lines(desk: Desk) -> None:
    desk.session.pads.clear()
    assert desk.play(on(48), mido.Message("program_change", program=2)) == []
    assert desk.lines[0].startswith("pad 1 is empty")
    assert "program 2 came and the settings hold 2 presets; add presets" in desk.lines[1]


def test_all_notes_off_cancels_nothing(desk: Desk) -> None:
    """Hosts send 120 and 123 on all channels at every stop."""
    calls = desk.play(*[cc(number, 0, channel) for channel in range(16) for number in (120, 123, 121)])
    assert calls == [("silence",), ("silence",)]


def test_a_pedal_acts_once_per_press(session: MemorySession) -> None:
    desk = Desk(session, MidiMap(0, {5: NoteAction("panic")}, {64: "release", 65: "capture-toggle"}, {3: "own"}))
    press = [cc(64, value, 7) for value in (0, 20, 63, 64, 90, 127, 70, 63, 0)]
    assert desk.play(*press, *press) == [("release",), ("release",)]
    assert desk.play(cc(65, 127), cc(65, 0), cc(65, 127)) == [("capture_start", ""), ("capture_stop",)]
    assert desk.play(on(5, channel=12)) == [("panic",)], "channel 0 of a map is every channel"
    assert desk.play(mido.Message("program_change", program=3)) == [("set_param", "text", "own")]


def test_every_action_can_be_carried_out(session: MemorySession) -> None:
    from soundforge_bridges.midi.map import ACTIONS

    session.pads[3] = "x"
    for action in ACTIONS:
        desk = Desk(session, MidiMap(1, {1: NoteAction(action, pad=3)}))
        assert desk.play(on(1), off(1)) and desk.lines == [], action


# --- the inbox ---------------------------------------------------------------------------------------------


def test_a_flood_keeps_notes_and_the_last_values() -> None:
    wakes: list[int] = []
    inbox = Inbox(lambda: wakes.append(1))
    for value in range(60):
        inbox.put(cc(20, value))
        inbox.put(cc(21, 59 - value))
    inbox.put(on(40))
    inbox.put(cc(20, 5))
    inbox.put(off(40))
    assert inbox.take_all() == [cc(20, 59), cc(21, 0), on(40), cc(20, 5), off(40)]
    assert inbox.take_all() == [] and wakes == [1]
    inbox.put(on(1))
    assert wakes == [1, 1]


def test_a_press_does_not_vanish_behind_its_release() -> None:
    inbox = Inbox(lambda: None)
    values = [0, 10, 127, 100, 0, 127, 127, 3]
    for value in values:
        inbox.put(cc(64, value))
    assert [m.value for m in inbox.take_all()] == [10, 100, 0, 127, 3]


def test_the_inbox_is_bounded() -> None:
    inbox = Inbox(lambda: None, limit=10)
    for note in range(30):
        inbox.put(on(note))
    assert len(inbox.take_all()) == 10 and inbox.dropped == 20


# --- lights ------------------------------------------------------------------------------------------------


def test_lights(session: MemorySession) -> None:
    lights = Lights(DEFAULT)
    start = lights.start(session)
    assert [m.note for m in start if m.type == "note_on"] == [36, 38, 40, 41, 42, 43, 45, *range(48, 64)]
    assert all(m.velocity == 0 for m in start if m.type == "note_on")
    faders = {m.control: m.value for m in start if m.type == "control_change"}
    assert sorted(faders) == [number for number, target in sorted(DEFAULT.controls.items())
                              if isinstance(target, Scale) and target.param in session.params]
    assert (faders[20], faders[24]) == (63, 63) or (faders[20], faders[24]) == (64, 64)
    assert lights.on_event(CaptureEvent("started", "t")) == [on(36, 127), on(38, 127)]
    assert lights.on_event(CaptureEvent("take", "t")) == [on(36, 0), on(38, 0)]
    assert len(lights.on_event(JobEvent("accepted", "a"))) == 4
    assert lights.on_event(JobEvent("accepted", "b")) == lights.on_event(JobEvent("done", "a")) == []
    assert lights.on_event(JobEvent("error", "b")) == [on(n, 0) for n in (40, 41, 42, 43)]
    assert lights.on_event(ClipEvent("playing", "c")) == [on(45, 127)]
    assert lights.on_event(ClipEvent("info", "c")) == []
    assert lights.pads({2: "c", 16: "d"}) == [on(49, 127), on(63, 32)]
    assert lights.on_event(ClipEvent("stopped", "c")) == [on(45, 0)]
    assert lights.pads({2: "c"}) == [on(49, 32), on(63, 0)] and lights.pads({2: "c"}) == []


def test_a_fader_follows_its_parameter_and_is_never_sent_back_what_it_said(session: MemorySession) -> None:
    lights = Lights(DEFAULT)
    lights.start(session)
    assert lights.on_event(ParamEvent("temperature", 2.0)) == [cc(20, 127)]
    assert lights.on_event(ParamEvent("temperature", 2.0)) == []
    lights.heard(22, 3)
    scale = DEFAULT.controls[22]
    assert isinstance(scale, Scale)
    assert lights.on_event(ParamEvent("top_k", scale.value(3))) == [], "another step would mean the same value"
    assert lights.on_event(ParamEvent("top_k", 1000)) == [cc(22, 127)]
    assert lights.on_event(ParamEvent("text", "dub")) == []


# --- ports -------------------------------------------------------------------------------------------------


def test_match() -> None:
    names = ["Launchpad Mini 20:0", "nanoKONTROL2 28:0", "nanoKONTROL2 28:1"]
    assert match("nanokontrol", names) == "nanoKONTROL2 28:0"
    assert match("nanoKONTROL2 28:1", names) == "nanoKONTROL2 28:1"
    assert match("beatstep", names) is None


class Port:
    def __init__(self, callback: Callable[[Any], None] | None = None) -> None:
        self.callback, self.sent, self.closed = callback, [], False

    def send(self, message: Any) -> None:
        if self.closed:
            raise OSError("closed")
        self.sent.append(message)

    def close(self) -> None:
        self.closed = True


class System:
    """A machine whose ports the test plugs and unplugs."""

    graph_time = gone = False

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.opened: dict[str, Port] = {}

    def inputs(self) -> list[str]:
        return [name for name in self.names if "out" not in name]

    def outputs(self) -> list[str]:
        return [name for name in self.names if "in" not in name]

    def open_input(self, name: str, callback: Callable[[Any], None]) -> Port:
        self.opened[name] = Port(callback)
        return self.opened[name]

    open_virtual_input = open_input

    def close(self, port: Port) -> None:
        port.close()

    def shut_down(self) -> None:
        self.names = []

    def abandon(self) -> None:
        self.abandoned = True

    def open_output(self, name: str) -> Port:
        self.opened[name] = Port()
        return self.opened[name]


def test_the_map_is_read_again_when_its_file_changes(session: MemorySession, tmp_path: Path) -> None:
    system, lines, path = System("Nano in 1", "Lamp out"), [], tmp_path / "map.toml"
    path.write_text('[notes]\n5 = "panic"\n')

    async def scenario() -> None:
        bridge = MidiBridge(session, ("nano",), "lamp", map_file=path, system=lambda: system,  # type: ignore[arg-type]
                            report=lines.append)
        await bridge.start()
        callback = system.opened["Nano in 1"].callback
        assert callback is not None
        await from_thread(callback, on(5), on(36))
        assert session.calls == [("panic",), ("capture_start", "")]
        path.write_text("[notes]\n5 = 7\n")
        await bridge._look()
        assert "the map stays as it was" in lines[-1] and "notes.5 came as 7" in lines[-1]
        await bridge._look()
        assert len(lines) == 1, "a wrong file is told of once"
        path.write_text('[notes]\n5 = "cancel"\n36 = "none"\n')
        await bridge._look()
        assert session.calls[-1] == ("capture_stop",), "what was held by the old map is let go"
        await from_thread(callback, on(5), on(36))
        assert session.calls[-1] == ("cancel", "*") and len(lines) == 1
        await bridge.stop()

    asyncio.run(scenario())


def test_ports_come_and_go(session: MemorySession) -> None:
    system, lines = System("Nano in 1"), []

    async def scenario() -> None:
        bridge = MidiBridge(session, ("nano", "pad"), "lamp out", system=lambda: system,  # type: ignore[arg-type]
                            report=lines.append)
        await bridge.start()
        assert bridge.open_inputs == ["Nano in 1"]
        assert lines == ["there is no MIDI input 'pad' now, there are: 'Nano in 1'; it is opened when it comes",
                         "there is no MIDI output 'lamp out' now, there are: none; it is opened when it comes"]
        first = system.opened["Nano in 1"]
        assert first.callback is not None
        await from_thread(first.callback, on(36))
        assert session.calls == [("capture_start", "")]
        system.names = ["Pad in 7", "Lamp out"]
        await bridge._look()
        assert first.closed and bridge.open_inputs == ["Pad in 7"]
        assert lines[2:] == ["the MIDI input 'Nano in 1' has gone; it is opened when it comes back"]
        assert session.calls[-1] == ("capture_stop",), "the held note went with its port"
        lamp = system.opened["Lamp out"]
        assert len(lamp.sent) == 7 + 16 + 6
        session.emit(JobEvent("accepted", "j"))
        assert [m.velocity for m in lamp.sent[29:]] == [127] * 4
        system.names = ["Nano in 1", "Pad in 7", "Lamp out"]
        await bridge._look()
        await bridge._look()
        again = system.opened["Nano in 1"]
        assert again is not first and again.callback is not None
        await from_thread(again.callback, on(40))
        assert session.calls[-1][0] == "continue_take" and len(lines) == 3
        await bridge.stop()
        await bridge.stop()
        assert again.closed and lamp.closed and session.listeners == []

    asyncio.run(scenario())


class HeldSystem(System):
    """Some of its ports are another program's now."""

    def __init__(self, *names: str, held: tuple[str, ...]) -> None:
        super().__init__(*names)
        self.held = held

    def open_input(self, name: str, callback: Callable[[Any], None]) -> Port:
        if name in self.held:
            raise DeviceError(f"cannot open the MIDI input {name!r} (busy)")
        return super().open_input(name, callback)

    def open_output(self, name: str) -> Port:
        if name in self.held:
            raise DeviceError(f"cannot open the MIDI output {name!r} (busy)")
        return super().open_output(name)


def test_a_port_that_another_program_holds_keeps_no_other_port_closed(session: MemorySession) -> None:
    system = HeldSystem("Nano in 1", "Pad in 2", "Lamp out", "Clock out", held=("Nano in 1", "Lamp out"))
    lines: list[str] = []

    async def scenario() -> None:
        bridge = MidiBridge(session, ("nano", "pad"), "lamp", system=lambda: system,  # type: ignore[arg-type]
                            report=lines.append, clock_output="clock")
        await bridge.start()
        assert (bridge.open_inputs, bridge.open_outputs) == (["Pad in 2"], ["Clock out"])
        assert lines == ["cannot open the MIDI input 'Nano in 1' (busy)",
                         "cannot open the MIDI output 'Lamp out' (busy)"]
        system.held = ()
        await bridge._look()
        assert (bridge.open_inputs, len(bridge.open_outputs), len(lines)) == (["Pad in 2", "Nano in 1"], 2, 2)
        await bridge.stop()

    asyncio.run(scenario())


def test_two_inputs_play_together_and_two_names_for_one_port_hear_it_once(session: MemorySession) -> None:
    system, lines = System("Launchpad in 1", "Keys in 2"), []

    async def scenario() -> None:
        bridge = MidiBridge(session, ("launch", "Launchpad", "keys"), system=lambda: system,  # type: ignore[arg-type]
                            report=lines.append)
        await bridge.start()
        assert bridge.open_inputs == ["Launchpad in 1", "Keys in 2"]
        assert lines == ["there is no other MIDI input 'Launchpad' now, there are: 'Launchpad in 1', 'Keys in 2'; it "
                         "is opened when it comes"]
        for name in bridge.open_inputs:
            callback = system.opened[name].callback
            assert callback is not None
            await from_thread(callback, on(40))
        assert [call[0] for call in session.calls] == ["continue_take", "continue_take"]
        system.names.append("Launchpad in 3")
        await bridge._look()
        assert bridge.open_inputs == ["Launchpad in 1", "Keys in 2", "Launchpad in 3"], "a second one of its kind"
        await bridge.stop()

    asyncio.run(scenario())


async def from_thread(callback: Callable[[Any], None], *messages: Any) -> None:
    """As the driver does it: on a thread of its own; then let the loop work."""
    def run() -> None:
        for message in messages:
            callback(message)

    await asyncio.to_thread(run)
    await asyncio.sleep(0.01)


def test_without_names_a_virtual_port_is_made(session: MemorySession) -> None:
    system = System()

    async def scenario() -> None:
        bridge = MidiBridge(session, system=lambda: system)  # type: ignore[arg-type]
        await bridge.start()
        assert bridge.open_inputs == ["SoundForge"]
        await bridge.stop()

    asyncio.run(scenario())
    assert system.opened["SoundForge"].closed


def test_a_midi_process_that_ended_is_started_again_with_its_ports(session: MemorySession) -> None:
    systems = [System("Nano in 1", "Lamp out"), System("Nano in 1", "Lamp out")]
    waiting, lines = list(systems), []

    async def scenario() -> None:
        bridge = MidiBridge(session, ("nano",), "lamp", system=lambda: waiting.pop(0),  # type: ignore[arg-type,return-value]
                            report=lines.append)
        await bridge.start()
        callback = systems[0].opened["Nano in 1"].callback
        assert callback is not None
        await from_thread(callback, on(36))
        systems[0].gone = True
        await bridge._look()
        assert session.calls[-1] == ("capture_stop",), "the held note went with its port"
        assert systems[0].abandoned and bridge.open_inputs == ["Nano in 1"] and bridge.open_outputs == ["Lamp out"]
        callback = systems[1].opened["Nano in 1"].callback
        assert callback is not None
        await from_thread(callback, on(40))
        assert session.calls[-1][0] == "continue_take" and systems[1].opened["Lamp out"].sent
        await bridge.stop()

    asyncio.run(scenario())
    assert lines == ["the MIDI ports have gone with their sound server; they are opened when it is back"]


def test_a_driver_that_hangs_holds_nobody_up(session: MemorySession) -> None:
    go_on = threading.Event()

    class Hanging(System):
        def inputs(self) -> list[str]:
            go_on.wait(20)
            return []

    async def scenario() -> float:
        start = time.monotonic()
        bridge = MidiBridge(session, ("x",), system=lambda: Hanging())  # type: ignore[arg-type,return-value]
        await bridge.start()
        await bridge.stop()
        seconds = time.monotonic() - start
        go_on.set()
        return seconds

    assert asyncio.run(scenario()) < 3.0


def test_no_midi_is_told_once_and_survived(session: MemorySession) -> None:
    lines: list[str] = []

    def absent() -> Any:
        raise DeviceError("there is no MIDI on this machine (x); on Linux start JACK")

    async def scenario(*inputs: str) -> None:
        bridge = MidiBridge(session, inputs, system=absent, report=lines.append)
        await bridge.start()
        await bridge._look()
        await bridge.stop()

    asyncio.run(scenario("nano"))
    assert lines == ["there is no MIDI on this machine (x); on Linux start JACK"]
    asyncio.run(scenario())
    assert len(lines) == 1, "nobody asked for MIDI"


def test_the_clock_drives_the_transport(session: MemorySession) -> None:
    system, lines = System("a in"), []

    async def scenario() -> None:
        bridge = MidiBridge(session, ("a",), system=lambda: system, report=lines.append)  # type: ignore[arg-type]
        await bridge.start()
        assert "midi" in session.sources
        callback = system.opened["a in"].callback
        assert callback is not None
        before = time.perf_counter()
        await from_thread(callback, mido.Message("start"))
        for _ in range(8):
            await from_thread(callback, mido.Message("clock"))
        await from_thread(callback, mido.Message("stop"))
        source, bpm, beat, rolling, at, tell = session.followed[0]
        assert (source, beat, rolling, tell) == ("midi", 1 / 24, True, True) and 20 < bpm < 999
        assert before < at < time.perf_counter()
        assert session.followed[-1][2:4] == (8 / 24, False) and session.calls == []
        await from_thread(callback, mido.Message("start"), *[mido.Message("clock") for _ in range(20)])
        assert len(lines) == 1 and "the MIDI clock cannot be followed: tempo came as" in lines[0], "told once"
        await bridge.stop()

    asyncio.run(scenario())


def test_a_flood_from_several_threads(session: MemorySession) -> None:
    """100,000 messages of four inputs: the loop lives, the note after them is carried out, the last value counts."""
    system = System("a in", "b in", "c in", "d in")

    async def scenario() -> float:
        bridge = MidiBridge(session, tuple(system.names), system=lambda: system)  # type: ignore[arg-type]
        await bridge.start()
        callbacks = [port.callback for port in system.opened.values()]
        assert all(callbacks)

        def flood(callback: Any) -> None:
            for number in range(25_000):
                callback(cc(20 + number % 6, number % 128))
            callback(cc(20, 127))

        threads = [threading.Thread(target=flood, args=(callback,)) for callback in callbacks]
        for thread in threads:
            thread.start()
        slowest = 0.0
        while any(thread.is_alive() for thread in threads):
            start = time.perf_counter()
            await asyncio.sleep(0)
            slowest = max(slowest, time.perf_counter() - start)
        await asyncio.sleep(0.05)
        start = time.perf_counter()
        await from_thread(callbacks[0], on(40))  # type: ignore[arg-type]
        assert session.calls[-1][0] == "continue_take"
        assert session.params["temperature"] == 2.0
        assert bridge.dropped == 0
        await bridge.stop()
        return slowest

    assert asyncio.run(scenario()) < 10.0, "busy machines pause; a loop that stands never comes back"


def test_a_wrong_map_file_is_an_error_at_once(session: MemorySession, tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text("[notes]\n1 = 'explode'")
    with pytest.raises(SettingsError, match="explode"):
        MidiBridge(session, map_file=tmp_path / "m.toml")
    (tmp_path / "m.toml").write_text("[controls]\n9 = {param = 'quantum', low = 1, high = 4}")
    assert MidiBridge(session, map_file=tmp_path / "m.toml").map.controls[9] == Scale("quantum", 1, 4)
