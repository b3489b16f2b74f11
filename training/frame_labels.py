"""Labels per codec frame, exact because the notes are known: chroma and position in beats."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.piece import Piece

FRAME_RATE_HZ = 50.0


def chroma_labels(piece: Piece, n_frames: int) -> NDArray[np.float32]:
    """``[n_frames, 12]``, strongest class of each frame at 1; zeros where no pitched note sounds."""
    out = np.zeros((n_frames, 12), dtype=np.float32)
    frames_per_beat = FRAME_RATE_HZ * 60.0 / piece.bpm
    for track in piece.tracks:
        if track.role == "drums":
            continue
        weight = track.gain * (0.8 if track.role == "bass" else 1.0)
        for note in track.notes:
            start = int(note.start_beats * frames_per_beat)
            end = int((note.start_beats + note.length_beats) * frames_per_beat) + 3  # notes ring on a little
            out[start:end, note.pitch % 12] += weight * note.velocity
    peak = out.max(axis=1, keepdims=True)
    return np.where(peak > 0, out / np.maximum(peak, 1e-6), 0.0).astype(np.float32)


def beat_positions(bpm: float, n_frames: int, first_frame: float = 0.0) -> NDArray[np.float64]:
    """Beats at the middle of frames ``first_frame ..``, 0 at the start of the piece."""
    return np.asarray((first_frame + np.arange(n_frames) + 0.5) / FRAME_RATE_HZ * bpm / 60.0)
