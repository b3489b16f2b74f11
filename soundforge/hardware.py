"""What sound devices and MIDI ports the system has, as plain values for listings and checks.

Both libraries are imported inside the functions: either may be missing. Call from one thread of a process that
streams no audio; asking PortAudio may take a second while a sound server starts.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

NO_PORTAUDIO = ("PortAudio is missing; install it (Debian, Ubuntu: sudo apt-get install -y libportaudio2), "
                "or use --offline-device")


def audio_devices() -> tuple[list[dict[str, Any]], str]:
    """Sound devices as plain values, and why there are none ("" when nothing is wrong)."""
    try:
        with quiet_libraries():
            import sounddevice
    except (OSError, ImportError):  # the module is there without the library that it binds to
        return [], NO_PORTAUDIO
    try:
        with quiet_libraries():
            found, hosts = sounddevice.query_devices(), sounddevice.query_hostapis()
            default_in, default_out = sounddevice.default.device
    except sounddevice.PortAudioError as error:
        return [], f"PortAudio cannot list its devices ({error}); see whether another program holds them"
    listed = [{"index": i, "name": str(d["name"]), "host": str(hosts[d["hostapi"]]["name"]),
               "inputs": int(d["max_input_channels"]), "outputs": int(d["max_output_channels"]),
               "rate_hz": float(d["default_samplerate"]), "default_input": i == default_in,
               "default_output": i == default_out} for i, d in enumerate(found)]
    return listed, "" if listed else "no sound device; `soundforge serve --offline-device` works without one"


def midi_ports() -> tuple[dict[str, list[str]], str]:
    """Names of MIDI inputs and outputs, and why they cannot be listed ("" when nothing is wrong)."""
    try:
        with quiet_libraries():
            import mido

            return {"inputs": sorted(set(mido.get_input_names())), "outputs": sorted(set(mido.get_output_names()))}, ""
    # python-rtmidi raises its own SystemError subclasses, and ImportError without ALSA's library.
    except (ImportError, OSError, SystemError, RuntimeError) as error:
        return {"inputs": [], "outputs": []}, f"MIDI is not available ({' '.join(str(error).split())})"


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep C libraries (ALSA, JACK) from writing to the terminal while they look for devices."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # no standard error at all (a windowed program): nothing to keep quiet
        yield
        return
    silence = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silence, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(silence)
        os.close(kept)
