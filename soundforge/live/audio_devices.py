"""Which devices of PortAudio are meant: found by index or part of a name, and asked whether they run as wished.

Threading: the audio process's main thread; PortAudio may take its time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from soundforge.errors import DeviceError
from soundforge.live.audio_protocol import AudioSetup

ONE_CLOCK = ("JACK",)
"""Sound systems whose devices all run on one clock, with one block size: different devices need no resampling."""


def import_sounddevice() -> Any:
    """The sounddevice module.

    Raises:
        DeviceError: PortAudio is not installed.
    """
    try:
        import sounddevice
    except (OSError, ImportError) as error:
        raise DeviceError(f"PortAudio cannot be loaded ({error}); install it (Debian: apt-get install libportaudio2), "
                          "or use --offline-device") from error
    return sounddevice


@dataclass(frozen=True)
class ChosenDevices:
    """What a `SoundCard` opens.

    Args:
        output, input: PortAudio's descriptions; no input = a machine without a microphone, which still plays.
        rate: of the output and of the sample clock, Hz.
        input_rate: the input's; another one where its clock is another and it does not run at `rate`.
        outs, ins: channels that are opened.
        own_blocks: the sound system decides on the block size.
        two_clocks: the input is to be resampled to the output's clock.
    """

    output: dict[str, Any]
    input: dict[str, Any] | None
    rate: int
    input_rate: int
    outs: int
    ins: int
    own_blocks: bool
    two_clocks: bool

    @property
    def input_name(self) -> str:
        """"" where it is the output's device, or there is none."""
        return "" if self.input is None or self.input["index"] == self.output["index"] else str(self.input["name"])


def choose_devices(sd: Any, setup: AudioSetup) -> ChosenDevices:
    """Find what the set-up asks for, and check that it runs.

    Raises:
        DeviceError: no such device or channel, or it does not run at this rate.
    """
    output = _find(sd, setup.output, "output")
    assert output is not None, "only an input may be missing"
    heard = None if setup.input == "" else _find(sd, setup.input, "input")
    rate = setup.rate or int(output["default_samplerate"])
    outs = _count(output, "output", setup.output_map, setup.output_channels)
    ins = 0 if heard is None else _count(heard, "input", setup.input_map, setup.input_channels)
    host = str(sd.query_hostapis(output["hostapi"])["name"])
    own_blocks = any(system in host for system in ONE_CLOCK)
    two_clocks = heard is not None and _two_clocks(setup.drift, heard, output, own_blocks)
    input_rate = rate
    if heard is not None and two_clocks and not _runs_at(sd, heard, ins, rate):
        input_rate = int(heard["default_samplerate"])
    chosen = ChosenDevices(output, heard, rate, input_rate, outs, ins, own_blocks, two_clocks)
    _check(sd, chosen)
    return chosen


def _find(sd: Any, wanted: str | None, kind: str) -> dict[str, Any] | None:
    device = int(wanted) if wanted is not None and wanted.isdigit() else wanted
    try:
        found: dict[str, Any] = sd.query_devices(device, kind)
    except (ValueError, sd.PortAudioError) as error:
        if wanted is None and kind == "input":
            return None  # a machine without a microphone still plays
        there = [d["name"] for d in sd.query_devices() if d[f"max_{kind}_channels"] > 0]
        asked = "there is no default" if wanted is None else f"{wanted!r} is not (exactly one)"
        listed = f"there are: {', '.join(there)}" if there else "there is none; use --offline-device"
        raise DeviceError(f"{asked} audio {kind} device ({str(error).splitlines()[0]}); {listed}") from error
    if not found[f"max_{kind}_channels"]:
        raise DeviceError(f"the audio device {found['name']!r} has no {kind}s; choose another --{kind}")
    return found


def _two_clocks(drift: str, heard: dict[str, Any], output: dict[str, Any], one_clock: bool) -> bool:
    """Whether the two are to be brought together here."""
    if drift != "auto":
        return drift != "off"
    one_system = heard["hostapi"] == output["hostapi"]
    return heard["index"] != output["index"] and not (one_system and one_clock)


def _runs_at(sd: Any, heard: dict[str, Any], ins: int, rate: int) -> bool:
    try:
        sd.check_input_settings(heard["index"], ins, "float32", samplerate=rate)
    except sd.PortAudioError:
        return False
    return True


def _check(sd: Any, chosen: ChosenDevices) -> None:
    try:
        sd.check_output_settings(chosen.output["index"], chosen.outs, "float32", samplerate=chosen.rate)
        if chosen.input is not None:
            sd.check_input_settings(chosen.input["index"], chosen.ins, "float32", samplerate=chosen.input_rate)
    except sd.PortAudioError as error:
        raise DeviceError(f"the audio device {chosen.output['name']!r} does not run at {chosen.rate} Hz with "
                          f"{chosen.ins} in, {chosen.outs} out ({error}); its own rate is "
                          f"{chosen.output['default_samplerate']:g} Hz, try without --rate") from error


def _count(device: dict[str, Any], kind: str, chosen: tuple[int, ...], wanted: int) -> int:
    """How many channels of a device are opened. Raises DeviceError."""
    there = int(device[f"max_{kind}_channels"])
    if chosen and max(chosen) >= there:
        raise DeviceError(f"the audio device {device['name']!r} has {there} {kind} channels, and channel "
                          f"{max(chosen) + 1} was asked for; change --{kind}-channels")
    return max(chosen) + 1 if chosen else min(wanted, there)
