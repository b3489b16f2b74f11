"""A clip: rendered audio with the request, seed, model and codes that made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundforge.audio import Samples, Waveform, as_samples
from soundforge.errors import AudioError
from soundforge.requests import GenerateRequest

OTHER_FORMATS = (".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wma")


@dataclass(frozen=True, eq=False)
class Clip:
    """Rendered audio ready to play.

    Args:
        waveform: float32 `[C, T]`, never scaled or clamped.
        sample_rate: Hz.
        request: what made it.
        seed: the seed that was used.
        codes: int64 `[K, T_frames]` that the waveform was decoded from (prompt included when the waveform
            holds it), or None for models without codes.
        model: name of the checkpoint.
        prompt_samples: how many of its samples are the prompt's.
        bpm: tempo, or None when it is not known.
        beats_per_bar: of the metre.
        info: further record (real-time factor, version, live changes by frame, ...), fit for JSON.
    """

    waveform: Samples
    sample_rate: int
    request: GenerateRequest = field(default_factory=GenerateRequest)
    seed: int = 0
    codes: NDArray[np.int64] | None = None
    model: str = ""
    prompt_samples: int = 0
    bpm: float | None = None
    beats_per_bar: int = 4
    info: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "waveform", as_samples(self.waveform))

    @property
    def seconds(self) -> float:
        return int(self.waveform.shape[-1]) / self.sample_rate

    @property
    def channels(self) -> int:
        return int(self.waveform.shape[0])

    @property
    def beats(self) -> float | None:
        """Length in beats, or None without a tempo."""
        return None if self.bpm is None else self.seconds * self.bpm / 60.0

    def as_waveform(self) -> Waveform:
        return Waveform(self.waveform, self.sample_rate)

    def save(self, path: str | PathLike[str], bits: int = 32) -> Path:
        """Write a WAV with tempo, loop and the whole request inside (see `soundforge.wav`).

        Written to a temporary name and renamed, so there is never half a file under `path`.

        Args:
            path: file to write.
            bits: 32 (float) or 24 or 16 (integers; peak-normalised when it would clip, with a warning).

        Raises:
            LibraryError: it cannot be written (full disk, no permission).
            AudioError: a name that says another format.
        """
        from soundforge.wav import write_clip

        if Path(path).suffix.lower() in OTHER_FORMATS:
            raise AudioError(f"path came as {str(path)!r}, expected a name that ends in .wav: a clip is saved as WAV")
        return write_clip(self, Path(path), bits=bits)

    def __repr__(self) -> str:
        tempo = f", {self.bpm:g} bpm" if self.bpm else ""
        return (f"Clip({self.channels} ch, {self.seconds:.3f} s at {self.sample_rate} Hz{tempo}, "
                f"model={self.model!r}, seed={self.seed})")

    def _repr_html_(self) -> str:
        """A player in a notebook."""
        import base64
        import io

        import soundfile

        buffer = io.BytesIO()
        peak = max(1.0, float(np.max(np.abs(self.waveform))) if self.waveform.size else 1.0)
        soundfile.write(buffer, self.waveform.T / peak, self.sample_rate, format="WAV", subtype="PCM_16")
        data = base64.b64encode(buffer.getvalue()).decode()
        return f'<audio controls src="data:audio/wav;base64,{data}"></audio><br>{self!r}'
