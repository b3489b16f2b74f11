"""Measured latencies, kept from run to run: one round trip for each pair of devices, rate and block size.

`soundforge doctor --calibrate` writes them into `soundforge-latency.toml` beside `soundforge.toml`; `serve` reads them
when it starts. The file is plain TOML and may be edited or deleted:

    [[round-trip]]
    input = "USB Audio"
    output = "USB Audio"
    rate = 48000
    block = 256
    samples = 742.0
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from soundforge.errors import SettingsError
from soundforge.settings import config_file
from soundforge.wav_file import write_atomically

TABLE = "round-trip"
MOST_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """From giving a sound out to getting it back, in samples at `rate`, with blocks of `block` samples."""

    input: str
    output: str
    rate: int
    block: int
    round_trip_samples: float


def calibration_file() -> Path:
    """Where calibrations are kept."""
    return config_file().with_name("soundforge-latency.toml")


def read_calibrations(path: Path) -> tuple[Calibration, ...]:
    """All that were measured; () when there is no file.

    Raises:
        SettingsError: the file cannot be read or holds something else.
    """
    try:
        with path.open("rb") as stream:
            tables = tomllib.load(stream).get(TABLE, [])
        return tuple(_checked(table) for table in tables)
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(f"cannot use the latencies in {str(path)!r} ({' '.join(str(error).split())}); delete the "
                            "file and run: soundforge doctor --calibrate") from error


def _checked(table: dict[str, object]) -> Calibration:
    found = Calibration(str(table["input"]), str(table["output"]), int(str(table["rate"])), int(str(table["block"])),
                        float(str(table["samples"])))
    if not math.isfinite(found.round_trip_samples) or abs(found.round_trip_samples) > MOST_SECONDS * found.rate:
        raise ValueError(f"a round trip of {found.round_trip_samples:g} samples, expected within {MOST_SECONDS:g} s")
    return found


def find_calibration(known: Sequence[Calibration], heard: str, played: str, rate: int, block: int
                     ) -> Calibration | None:
    """The one for these devices at this rate and block size, or None."""
    return next((one for one in known if (one.input, one.output, one.rate, one.block) == (heard, played, rate, block)),
                None)


def keep_calibration(path: Path, new: Calibration) -> None:
    """Write a measurement in the place of an older one of the same devices, rate and block.

    Raises:
        SettingsError: the file that is there cannot be read. LibraryError: it cannot be written.
    """
    others = [one for one in read_calibrations(path)
              if find_calibration([one], new.input, new.output, new.rate, new.block) is None]
    text = "# measured by `soundforge doctor --calibrate`: round trips from output to input, in samples\n"
    for one in [*others, new]:
        # A JSON string is a TOML string.
        text += (f"\n[[{TABLE}]]\ninput = {json.dumps(one.input)}\noutput = {json.dumps(one.output)}\n"
                 f"rate = {one.rate}\nblock = {one.block}\nsamples = {one.round_trip_samples:.2f}\n")
    write_atomically(path, [text.encode()])
