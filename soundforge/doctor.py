"""Checks of this machine: what is there, what is missing, and what to do about it.

Each check is a small function that gives one `Check` and never raises: what goes wrong is its finding.
Threading: call from one thread; `sound_card` and `midi` talk to the system's drivers and may take a second.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from soundforge.calibrations import calibration_file, read_calibrations
from soundforge.errors import SettingsError, SoundForgeError
from soundforge.hardware import audio_devices, midi_ports
from soundforge.settings import Settings, config_file

Level = Literal["good", "note", "bad"]
LEAST_FREE_BYTES = 500_000_000


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: `good`, `note` (works, with a limit) or `bad` (something will fail); `todo` says what to do."""

    name: str
    level: Level
    found: str
    todo: str = ""


def examine(settings: Settings) -> Iterator[Check]:
    """All checks in the order in which a newcomer trips over them."""
    checks: tuple[Callable[[Settings], Check], ...] = (
        python, torch_build, compiled_kernels, sound_card, latency, midi, model_files, plugins, write_access, osc_port,
        timer, settings_file)
    for check in checks:
        yield check(settings)


def python(settings: Settings) -> Check:
    """Version of the interpreter and of the system."""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Check("Python", "note", found, "SoundForge is tested with 3.11 to 3.13")
    return Check("Python", "good", found)


def torch_build(settings: Settings) -> Check:
    """Whether torch imports, and where models would run."""
    try:
        import torch
    # A torch built for another processor or system can fail in many ways while it loads its libraries.
    except Exception as error:
        return Check("torch", "bad", f"cannot be imported ({' '.join(str(error).split())})",
                     "install it again: pip install -c constraints.txt torch")
    if torch.cuda.is_available():
        where = f"CUDA, {torch.cuda.get_device_name(0)}"
    elif torch.backends.mps.is_available():
        where = "Apple GPU"
    else:
        where = f"CPU, {torch.get_num_threads()} threads"
    if settings.device.startswith("cuda") and not torch.cuda.is_available():
        return Check("torch", "bad", f"{torch.__version__}, {where}; the settings ask for {settings.device}",
                     "install a CUDA build of torch, or set device = \"auto\"")
    return Check("torch", "good", f"{torch.__version__}, {where}")


def compiled_kernels(settings: Settings) -> Check:
    """Whether language models step through compiled code on the CPU; built now if that was not done yet."""
    from soundforge.nn.kernels.build import load_kernels, why_not

    kernels = load_kernels()
    if kernels is None:
        return Check("kernels", "note", f"language models step through torch, slower: {why_not()}")
    if kernels.isa == "portable":
        return Check("kernels", "note", "compiled, but for no vector instructions that they know",
                     "measure with `soundforge bench` whether quantize = \"int8\" is faster here than without")
    return Check("kernels", "good", f"compiled steps on the CPU, {kernels.isa}")


def sound_card(settings: Settings) -> Check:
    """PortAudio and a default input and output."""
    found, trouble = audio_devices()
    if not found:
        return Check("sound card", "note", trouble, "use --offline-device, or connect a sound card")
    inputs = [d["name"] for d in found if d["default_input"]]
    outputs = [d["name"] for d in found if d["default_output"]]
    text = f"{len(found)} devices; input {inputs[0] if inputs else 'none'}, output {outputs[0] if outputs else 'none'}"
    if not inputs or not outputs:
        return Check("sound card", "note", text, "choose with --input and --output (see `soundforge devices`)")
    return Check("sound card", "good", text)


def latency(settings: Settings) -> Check:
    """Whether the latencies of the devices that the settings name were measured."""
    try:
        known = read_calibrations(calibration_file())
    except SettingsError as error:
        return Check("latency", "bad", str(error), "delete the file and measure again")
    listed = "; ".join(f"{one.input} to {one.output} at {one.rate} Hz, {one.block} a block: "
                       f"{1000 * one.round_trip_samples / one.rate:.2f} ms" for one in known)
    if settings.offline_device:
        return Check("latency", "good", "the offline device has none")
    if not known:
        return Check("latency", "note", "not measured: what the driver reports is believed",
                     "connect output and input and run: soundforge doctor --calibrate")
    return Check("latency", "good", f"measured round trips: {listed}")


def midi(settings: Settings) -> Check:
    """MIDI library and ports; the ports that the settings name must be there."""
    ports, trouble = midi_ports()
    if trouble:
        return Check("MIDI", "note", trouble,
                     "everything but MIDI works; on Linux it needs libasound2 and the kernel module snd-seq")
    wanted = [*settings.midi_in, *([settings.midi_out] if settings.midi_out else [])]
    names = [*ports["inputs"], *ports["outputs"]]
    absent = [w for w in wanted if not any(w.lower() in name.lower() for name in names)]
    found = f"{len(ports['inputs'])} inputs, {len(ports['outputs'])} outputs"
    if absent:
        return Check("MIDI", "bad", f"{found}; not there: {', '.join(absent)}", "connect it, or change midi-in")
    return Check("MIDI", "good", found)


def model_files(settings: Settings) -> Check:
    """Whether the model of the settings is found and a family takes it; its weights are not loaded."""
    from soundforge.host import create_host

    try:
        family, folder = create_host(disabled=settings.no_plugin, plugins_dir=settings.plugins_dir).find_model(
            settings.model)
    except SoundForgeError as error:
        return Check("model", "bad", str(error), "see `soundforge models`")
    place = f"in {folder}" if folder else "inside the package"
    return Check("model", "good", f"{settings.model!r} of the family {family.name}, {place}")


def plugins(settings: Settings) -> Check:
    """Plugins that failed to load."""
    from soundforge.plugin_manager import PluginManager

    try:
        report = PluginManager(disabled=settings.no_plugin, plugins_dir=settings.plugins_dir).report()
    except SoundForgeError as error:
        return Check("plugins", "bad", str(error), "name another folder with --plugins-dir")
    failed = [f"{info.name}: {info.error}" for info in report if info.error]
    if failed:
        return Check("plugins", "bad", f"{len(failed)} of {len(report)} failed ({'; '.join(failed)})",
                     "mend them, or leave them out with --no-plugin NAME")
    return Check("plugins", "good" if report else "bad", f"{len(report)} loaded",
                 "" if report else "install SoundForge again: its own plugins are not found")


def write_access(settings: Settings) -> Check:
    """Whether takes and clips can be written, and how much room there is."""
    folder = settings.library
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b"x")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Check("library", "bad", f"{folder} cannot be written ({error.strerror or error})",
                     "choose another folder with --library")
    found = f"{folder}, {free / 1e9:.1f} GB free"
    if free < LEAST_FREE_BYTES:
        return Check("library", "note", found, "free some space, or choose another folder with --library")
    return Check("library", "good", found)


def osc_port(settings: Settings) -> Check:
    """Whether the OSC port is free."""
    where = f"{settings.osc_host}:{settings.osc_port}"
    try:
        family = socket.getaddrinfo(settings.osc_host, settings.osc_port, type=socket.SOCK_DGRAM)[0][0]
        with socket.socket(family, socket.SOCK_DGRAM) as trial:
            trial.bind((settings.osc_host, settings.osc_port))
    except OSError as error:
        return Check("OSC port", "bad", f"{where} cannot be opened ({error.strerror or error})",
                     "end the program that holds it, or choose another with --osc-port")
    return Check("OSC port", "good", f"{where} is free")


def timer(settings: Settings) -> Check:
    """How late a sleep of 2 ms ends: the sound card has its own clock, but pacing without one depends on it."""
    late = []
    for _ in range(25):
        before = time.perf_counter()
        time.sleep(0.002)
        late.append(time.perf_counter() - before - 0.002)
    worst = max(late) * 1000
    found = f"a pause of 2 ms ends {worst:.2f} ms late at worst"
    for clock, module in (("link", "link"), ("jack", "jack")):
        if settings.clock == clock and not _importable(module):
            return Check("clock", "bad", f"{found}; the settings ask for the clock {clock!r}, whose extra is missing",
                         f"pip install 'soundforge[{clock}]'")
    if worst > 10:
        return Check("clock", "note", found, "the machine is busy; use larger blocks (--block 512)")
    return Check("clock", "good", found)


def settings_file(settings: Settings) -> Check:
    """Where settings were read from."""
    file = config_file()
    return Check("settings", "good", str(file) if file.exists() else f"no file (it would be {file})")


def _importable(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


def log_folder_hint(log: Path | None) -> str:
    """A line about the log for the end of a report."""
    return f"log file: {log}" if log else "no log file can be written; name one with --log"
