"""Audio through Opus at a given bit rate, by the reference tools ``opusenc`` and ``opusdec``."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

RATE = 32_000


def through_opus(wave: NDArray[np.float32], kbits: int) -> NDArray[np.float32]:
    """Mono samples ``[T]`` at 32 kHz, encoded and decoded; the same length, the delay taken out by the tools."""
    with tempfile.TemporaryDirectory() as folder:
        source, coded, decoded = (Path(folder) / name for name in ("in.wav", "coded.opus", "out.wav"))
        soundfile.write(source, soxr.resample(wave, RATE, 48_000), 48_000, subtype="FLOAT")
        encode = ["opusenc", "--quiet", "--bitrate", str(kbits), "--music", "--hard-cbr", str(source), str(coded)]
        subprocess.run(encode, check=True, capture_output=True)
        subprocess.run(
            ["opusdec", "--quiet", "--float", "--rate", "48000", str(coded), str(decoded)],
            check=True,
            capture_output=True,
        )
        data, rate = soundfile.read(decoded, dtype="float32", always_2d=True)
    mono = soxr.resample(data.mean(axis=1), rate, RATE).astype(np.float32)
    out = np.zeros(len(wave), dtype=np.float32)
    out[: min(len(wave), len(mono))] = mono[: len(wave)]
    return out
