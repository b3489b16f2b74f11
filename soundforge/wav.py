"""Clips and takes as WAV files that DAWs understand and that remember how they were made.

    fmt, fact   32-bit float (default), 24-bit or 16-bit integers
    bext        origination, position on the timeline        acid   tempo, beats, metre
    smpl        the loop                                     LIST   name, comment, software, date
    data        the samples
    sfrg        the whole record as JSON (see `soundforge.wav_record`)

Files appear whole or not at all (`soundforge.wav_file`). Threading: no state is held; the functions block on the
disk and belong on a worker thread in the live server. This module imports no torch.
"""

from __future__ import annotations

import struct
import time
import warnings
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from soundforge.audio import Samples, Waveform, read
from soundforge.clip import Clip
from soundforge.errors import AudioError
from soundforge.take import Take
from soundforge.version import __version__
from soundforge.wav_chunks import (
    Acid,
    Origination,
    encode_acid,
    encode_bext,
    encode_info,
    encode_smpl,
)
from soundforge.wav_file import write_atomically
from soundforge.wav_info import WavInfo, read_info
from soundforge.wav_record import (
    RECORD_FORMAT,
    clip_record,
    decode_codes,
    encode_record,
    request_from_record,
)
from soundforge.wav_riff import Format, encode_format, layout, to_bytes

__all__ = ["BIT_DEPTHS", "WavInfo", "fit_for_bits", "read_clip", "read_info", "read_take", "write_clip", "write_take",
           "write_wave"]

BIT_DEPTHS = (16, 24, 32)

def write_clip(clip: Clip, path: str | PathLike[str], bits: int = 32, *, replace: bool = True) -> Path:
    """Write a clip with tempo, loop and the request that made it.

    Args:
        clip: what to write.
        path: final name; its folder is made when it is missing.
        bits: 32 (float, exact), 24 or 16; integers that would clip are peak-normalised, with a warning.
        replace: overwrite a file of that name; False = such a file is a `LibraryError`.

    Raises:
        LibraryError: it cannot be written; nothing is left behind.
        AudioError: another bit depth, more than 4 GiB, or a record that JSON cannot say.
    """
    start_beat = clip.request.tags.get("start_beat")
    return _write(clip.as_waveform(), Path(path), bits, clip_record(clip), bpm=clip.bpm, replace=replace,
                  beats_per_bar=clip.beats_per_bar, title=Path(path).stem, comment=clip.request.text or "",
                  start_beat=start_beat if isinstance(start_beat, (int, float)) else None)


def write_take(take: Take, path: str | PathLike[str], bits: int = 32, *, replace: bool = True) -> Path:
    """Write a take; arguments and errors as for `write_clip`."""
    record = {"format": RECORD_FORMAT, "kind": "take", "software": f"SoundForge {__version__}", "bpm": take.bpm,
              "beats_per_bar": take.beats_per_bar, "start_beat": take.start_beat, "source": take.source,
              "info": dict(take.info)}
    return _write(take.waveform, Path(path), bits, record, bpm=take.bpm, beats_per_bar=take.beats_per_bar,
                  title=Path(path).stem, comment=f"captured from {take.source}", start_beat=take.start_beat,
                  replace=replace)


def write_wave(waveform: Waveform, path: str | PathLike[str], bits: int = 32, *, bpm: float | None = None,
               beats_per_bar: int = 4, replace: bool = True) -> Path:
    """Write audio that nothing of ours made (`demo/joined.wav`); tempo and loop when `bpm` is given."""
    return _write(waveform, Path(path), bits, None, bpm=bpm, beats_per_bar=beats_per_bar, title=Path(path).stem,
                  comment="", start_beat=None, replace=replace)


def read_clip(path: str | PathLike[str]) -> Clip:
    """Read a WAV as a clip; one that SoundForge did not write has an empty request and the tempo of its `acid`.

    Raises:
        AudioError: missing, truncated or damaged file, or no WAV.
    """
    info = read_info(path)
    name, record = str(path), info.record if info.record.get("kind") == "clip" else {}
    waveform = _read_samples(path, info)
    undo = info.record.get("export_gain")
    if isinstance(undo, float) and 0.0 < undo < 1.0:
        waveform = Waveform(waveform.samples / np.float32(undo), waveform.sample_rate)
    try:
        return Clip(
            waveform.samples, waveform.sample_rate,
            request=request_from_record(record.get("request", {}), name), seed=int(record.get("seed", 0)),
            codes=decode_codes(record.get("codes"), name), model=str(record.get("model", "")),
            prompt_samples=min(max(0, int(record.get("prompt_samples", 0))), waveform.n_samples), bpm=info.bpm,
            beats_per_bar=_metre(info), info=dict(record.get("info", {})))
    except AudioError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise AudioError(f"{name!r} holds a damaged record ({error}); read its audio alone with sf.read") from error


def read_take(path: str | PathLike[str]) -> Take:
    """Read any WAV as a take; errors as for `read_clip`."""
    info = read_info(path)
    record = info.record if info.record.get("kind") == "take" else {}
    start, extra = record.get("start_beat"), record.get("info", {})
    return Take(_read_samples(path, info), bpm=info.bpm, beats_per_bar=_metre(info),
                start_beat=float(start) if isinstance(start, (int, float)) else None,
                source=str(record.get("source", Path(path).name)), info=extra if isinstance(extra, dict) else {})


def _read_samples(path: str | PathLike[str], info: WavInfo) -> Waveform:
    waveform = read(path)
    if (waveform.n_samples, waveform.channels) != (info.n_samples, info.channels):
        raise AudioError(f"{str(path)!r} claims {info.n_samples} samples and {info.channels} channels and holds "
                         f"{waveform.n_samples} and {waveform.channels}; it was cut off or damaged")
    return waveform


def _metre(info: WavInfo) -> int:
    value = info.record.get("beats_per_bar")
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 64:
        return value
    return info.acid.beats_per_bar if info.acid else 4


def _write(waveform: Waveform, path: Path, bits: int, record: Mapping[str, Any] | None, *, bpm: float | None,
           beats_per_bar: int, title: str, comment: str, start_beat: float | None, replace: bool) -> Path:
    if bits not in BIT_DEPTHS:
        raise AudioError(f"bits came as {bits!r}, expected 32 (float), 24 or 16")
    samples, gain = fit_for_bits(waveform.samples, bits)
    if record is not None and gain != 1.0:
        record = {**record, "export_gain": gain}
    fmt = Format(waveform.channels, waveform.sample_rate, bits, bits == 32)
    now = time.localtime()
    day = time.strftime("%Y-%m-%d", now)
    position = 0 if start_beat is None or bpm is None else round(start_beat * 60.0 / bpm * waveform.sample_rate)
    texts = {"INAM": title, "ICMT": comment, "ISFT": f"SoundForge {__version__}", "ICRD": day}
    chunks: list[tuple[bytes, Any]] = [
        (b"fmt ", encode_format(fmt)),
        (b"fact", struct.pack("<I", waveform.n_samples)),
        (b"bext", encode_bext(Origination(comment or title, "SoundForge", title, day,
                                          time.strftime("%H:%M:%S", now), position))),
    ]
    if bpm is not None and waveform.n_samples:
        chunks.append((b"acid", encode_acid(Acid.of_length(waveform.seconds, bpm, beats_per_bar))))
    if waveform.n_samples:
        chunks.append((b"smpl", encode_smpl(waveform.sample_rate, [(0, waveform.n_samples - 1)])))
    chunks += [(b"LIST", encode_info({name: text for name, text in texts.items() if text})),
               (b"data", to_bytes(samples, bits))]
    if record is not None:
        # Last: readers that take only the head of a file still find everything that DAWs need.
        chunks.append((b"sfrg", encode_record(record)))
    return write_atomically(path, layout(chunks), replace=replace)


def fit_for_bits(samples: Samples, bits: int) -> tuple[Samples, float]:
    """Samples `[C, T]` that integers of `bits` can hold, and the gain that was applied (1.0 = none).

    Warns (UserWarning) when it scales. 32-bit float takes anything and is never scaled.
    """
    peak = float(np.max(np.abs(samples))) if samples.size else 0.0
    if bits == 32 or peak <= 1.0:
        return samples, 1.0
    gain = (1.0 - 2.0 ** (1 - bits)) / peak
    warnings.warn(f"the peak is {20 * np.log10(peak):.1f} dB over full scale and {bits}-bit integers would clip; "
                  f"written {-20 * np.log10(gain):.1f} dB quieter (32-bit float keeps the level)", stacklevel=4)
    return np.asarray(samples * np.float32(gain), dtype=np.float32), gain
