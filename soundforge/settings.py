"""Settings: file, environment and flags become one frozen `Settings`.

    soundforge.toml  <  SOUNDFORGE_* environment  <  flags of `soundforge serve`

The file lives in the platform's configuration folder (`config_file()`), or where `SOUNDFORGE_CONFIG` points.
Keys are the flags' names, with dashes or underscores: `osc-port = 9130`. In the environment lists are separated
by commas: `SOUNDFORGE_MIDI_IN="nanoKONTROL2,Launchpad"`. Everything is checked here, once, whatever it came from.
This module imports neither torch nor anything below it; a `Settings` crosses to other processes by pickle.
"""

# ruff: noqa: RUF009  (_setting wraps dataclasses.field, which the rule would allow)
from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import platformdirs

from soundforge.errors import SettingsError
from soundforge.requests import MAX_BPM, MIN_BPM
from soundforge.settings_values import Rule, convert, flag, integer, number, path, text, texts

CLOCKS = ("internal", "midi", "link", "jack")
DRIFT = ("auto", "on", "off")
CODEC_PRECISIONS = ("float32", "bfloat16")
MAX_CHANNEL = 256
CONFIG_VARIABLE = "SOUNDFORGE_CONFIG"
PREFIX = "SOUNDFORGE_"
GIB = 1024**3


def _setting(default: Any, rule: Rule, help_text: str) -> Any:
    return field(default=default, metadata={"rule": rule, "help": help_text})


def default_library() -> Path:
    """Folder for takes and clips when none is named: the platform's folder for user data."""
    return Path(platformdirs.user_data_path("soundforge", appauthor=False)) / "library"


def config_file(environ: Mapping[str, str] | None = None) -> Path:
    """Where the settings file is looked for; it need not exist."""
    named = (os.environ if environ is None else environ).get(CONFIG_VARIABLE, "")
    if named:
        return Path(named).expanduser()
    return Path(platformdirs.user_config_path("soundforge", appauthor=False)) / "soundforge.toml"


def channel_numbers(name: str, channels: tuple[str, ...]) -> tuple[int, ...]:
    """Device channels as users count them, from 1, as numbers from 0. Raises SettingsError."""
    try:
        numbers = tuple(int(channel) - 1 for channel in channels)
    except ValueError:
        numbers = (-1,)
    if any(not 0 <= number < MAX_CHANNEL for number in numbers) or len(set(numbers)) < len(numbers):
        raise SettingsError(f"{name} came as {' '.join(channels)!r}, expected different channel numbers from 1 to "
                            f"{MAX_CHANNEL}, such as 1 2")
    return numbers


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything `soundforge serve` can be told. Values are converted and checked on construction.

    Raises:
        SettingsError: a value has the wrong type or range, or two values contradict each other.
    """

    model: str = _setting("starter", text(), "model: an embedded or hub name, or a folder")
    models: tuple[str, ...] = _setting((), texts(), "folders with further models, which /soundforge/model may load by "
                                       "their last name")
    device: str = _setting("auto", text(), "where the model runs: auto, cpu, cuda, cuda:1, mps")
    quantize: str | None = _setting(None, text(optional=True, choices=("int8", "int4")), "weights in int8 or int4")
    codec_precision: str = _setting("float32", text(choices=CODEC_PRECISIONS), "in which EnCodec and DAC decode; "
                                    "bfloat16 is faster where the processor has it")
    threads: int | None = _setting(None, integer(1, 256, optional=True), "threads of the engine; unset = chosen")
    osc_port: int = _setting(9130, integer(0, 65535), "UDP port for OSC; 0 = the system picks one")
    osc_host: str = _setting("127.0.0.1", text(), "address to listen on; 0.0.0.0 = every network")
    osc_allow: tuple[str, ...] = _setting((), texts(), "addresses that may speak OSC to us, besides this machine")
    osc_map: Path | None = _setting(None, path(optional=True), "TOML file with other programs' OSC addresses")
    midi_in: tuple[str, ...] = _setting((), texts(), "MIDI inputs, by (part of) their names")
    midi_out: str | None = _setting(None, text(optional=True), "MIDI output for lights and states")
    midi_clock_out: str | None = _setting(None, text(optional=True), "MIDI output for our clock, 24 per beat")
    midi_map: Path | None = _setting(None, path(optional=True), "TOML file that changes the MIDI map")
    midi_learn: bool = _setting(False, flag(), "learn the MIDI map from what is played, and write it")
    input: str | None = _setting(None, text(optional=True), "audio input: number or (part of) its name")
    output: str | None = _setting(None, text(optional=True), "audio output: number or (part of) its name")
    input_channels: tuple[str, ...] = _setting((), texts(), "channels of the input device to listen to, such as 3 4")
    output_channels: tuple[str, ...] = _setting(
        (), texts(), "channels of the output device to play on, such as 1 2, or 1 2 5 6 for two pairs")
    drift: str = _setting("auto", text(choices=DRIFT),
                          "input and output have clocks of their own and are resampled to one")
    input_latency_ms: float | None = _setting(
        None, number(-1000, 1000, optional=True), "latency of the input; unset = calibrated, else as reported")
    output_latency_ms: float | None = _setting(
        None, number(0, 1000, optional=True), "latency of the output; unset = calibrated, else as reported")
    rate: int | None = _setting(None, integer(8_000, 768_000, optional=True), "device sample rate in Hz")
    block: int = _setting(256, integer(16, 8192), "samples per audio block")
    bpm: float = _setting(120.0, number(MIN_BPM, MAX_BPM), "tempo at the start, in beats per minute")
    beats_per_bar: int = _setting(4, integer(1, 64), "beats in a bar")
    clock: str = _setting("internal", text(choices=CLOCKS), "what drives the transport")
    library: Path = field(default_factory=default_library,
                          metadata={"rule": path(), "help": "folder for takes and clips"})
    library_limit_bytes: int = _setting(10 * GIB, integer(1_000_000, 2**62), "most that takes and clips may take up")
    bits: int = _setting(32, integer(24, 32), "takes and clips are written as 32-bit float or 24-bit WAV")
    offline_device: bool = _setting(False, flag(), "no sound card: a device paced in real time")
    offline_input: Path | None = _setting(None, path(optional=True), "the offline device hears this file in a loop")
    offline_output: Path | None = _setting(None, path(optional=True), "the offline device's output goes to this file")
    plugins_dir: Path | None = _setting(None, path(optional=True), "folder with plugins that are single files")
    no_plugin: tuple[str, ...] = _setting((), texts(), "plugins that are not loaded, by name")
    plugin_seconds: float = _setting(10.0, number(0.1, 3600.0), "longest call of a third party's plugin, in seconds; "
                                     "the job fails after it")
    queue_size: int = _setting(8, integer(1, 1000), "jobs that may wait; more are refused")
    presets: tuple[str, ...] = _setting((), texts(), "texts that MIDI Program Change 0, 1, 2 ... picks")
    log: Path | None = _setting(None, path(optional=True), "log file; unset = one in the platform's log folder")
    debug: bool = _setting(False, flag(), "full tracebacks and a chatty log")

    def __post_init__(self) -> None:
        for item in fields(self):
            rule = cast(Rule, item.metadata["rule"])
            object.__setattr__(self, item.name, convert(item.name, getattr(self, item.name), rule))
        if self.bits not in (24, 32):
            raise SettingsError(f"bits came as {self.bits}, expected 24 or 32")
        for name in ("input_channels", "output_channels"):
            channel_numbers(name, getattr(self, name))
        for name in ("offline_input", "offline_output"):
            if getattr(self, name) is not None and not self.offline_device:
                raise SettingsError(f"{name} came without offline_device; add --offline-device")


KNOWN: Mapping[str, Field[Any]] = {item.name: item for item in fields(Settings)}
"""Every setting by name; `metadata["help"]` is its one-line description."""


def load_settings(flags: Mapping[str, Any] | None = None, *, environ: Mapping[str, str] | None = None,
                  file: Path | None = None) -> Settings:
    """Settings from file, environment and flags, the later ones winning.

    Args:
        flags: values by setting name; None means "not given" and leaves the others' word.
        environ: instead of `os.environ`.
        file: instead of `config_file(environ)`; a file named here or by SOUNDFORGE_CONFIG must exist.

    Raises:
        SettingsError: unknown key, wrong value, unreadable file; names where the value came from.
    """
    environ = os.environ if environ is None else environ
    must_exist = file is not None or bool(environ.get(CONFIG_VARIABLE))
    where = file or config_file(environ)
    values = _checked(read_file(where, must_exist=must_exist), str(where))
    values |= _checked(from_environment(environ), "the environment")
    values |= _checked({k: v for k, v in (flags or {}).items() if v is not None}, "")
    return Settings(**values)


def read_file(where: Path, *, must_exist: bool = False) -> dict[str, Any]:
    """The settings in a TOML file by name, unchecked; {} when it does not exist and need not."""
    try:
        with where.open("rb") as stream:
            return {key.replace("-", "_"): value for key, value in tomllib.load(stream).items()}
    except FileNotFoundError:
        if must_exist:
            raise SettingsError(f"there is no settings file {str(where)!r}; "
                                f"write one, or unset {CONFIG_VARIABLE}") from None
        return {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read the settings file {str(where)!r} ({error}); "
                            "expected lines such as: osc-port = 9130") from error


def from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """The settings in `SOUNDFORGE_*` variables by name, as text.

    Raises:
        SettingsError: a variable whose name is nearly a setting's. Others with our prefix are left alone:
            they may belong to a plugin, or be no setting (`SOUNDFORGE_PLUGINS`).
    """
    found: dict[str, Any] = {}
    for variable, value in environ.items():
        if not variable.upper().startswith(PREFIX):
            continue
        name = variable[len(PREFIX):].lower()
        if name in KNOWN:
            found[name] = value
        elif close := difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.85):
            raise SettingsError(f"the environment holds {variable}, which is no setting; "
                                f"did you mean {PREFIX}{close[0].upper()}?")
    return found


def _checked(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Convert each value by its setting's rule; an error says where the value came from."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        if name not in KNOWN:
            close = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(KNOWN)}"
            raise SettingsError(f"{where + ' holds ' if where else ''}{name!r}, which is no setting; {hint}")
        try:
            out[name] = convert(name, value, cast(Rule, KNOWN[name].metadata["rule"]))
        except SettingsError as error:
            raise SettingsError(f"{error} (in {where})" if where else str(error)) from None
    return out
