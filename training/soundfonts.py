"""Tracks rendered through General MIDI soundfonts (MIT), with some programs held out for evaluation."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.piece import DRUM_NAMES, Track

SAMPLE_RATE_HZ = 32_000
FOLDER = Path("/usr/share/sounds/sf3")
FONTS = ("FluidR3Mono_GM.sf3", "MuseScore_General_Lite.sf3")

# General MIDI programs (0-based) that may stand for a patch name. The LAST of each is held out with its soundfont order
# reversed where there are several; single-program names exist in both sets.
PROGRAMS: dict[str, tuple[int, ...]] = {
    "sf piano": (0, 1, 3, 2),
    "sf electric piano": (4, 5),
    "sf clavinet": (7,),
    "sf vibraphone": (11,),
    "sf marimba": (12, 13),
    "sf accordion": (21, 23),
    "sf harmonica": (22,),
    "sf melodica": (22, 21),
    "sf nylon guitar": (24,),
    "sf steel guitar": (25,),
    "sf jazz guitar": (26,),
    "sf clean guitar": (27, 28),
    "sf overdriven guitar": (29,),
    "sf distorted guitar": (30,),
    "sf acoustic bass": (32,),
    "sf electric bass": (33, 34, 37),
    "sf picked bass": (34,),
    "sf fretless bass": (35,),
    "sf slap bass": (36, 37),
    "sf violin": (40, 41),
    "sf contrabass": (43, 42),
    "sf harp": (46,),
    "sf strings": (48, 51, 44, 49),
    "sf synth strings": (50, 51),
    "sf choir": (52, 53, 54),
    "sf trumpet": (56, 59),
    "sf french horn": (60,),
    "sf brass": (61, 62, 57, 63),
    "sf saxophone": (65, 66, 67, 64),
    "sf oboe": (68, 69),
    "sf clarinet": (71,),
    "sf flute": (73, 75, 72),
    "sf banjo": (105, 104),
}
_DRUM_KITS = (0, 8, 16, 24, 25, 32, 40)
_HELD_OUT_KITS = (16, 32)

_GM_DRUMS: dict[str, int] = {
    "kick": 36,
    "snare": 38,
    "clap": 39,
    "rim": 37,
    "hat": 42,
    "open_hat": 46,
    "ride": 51,
    "crash": 49,
    "tom_low": 43,
    "tom_high": 48,
    "shaker": 70,
    "cowbell": 56,
    "conga": 63,
    "clave": 75,
}


def programs_for(patch: str, held_out: bool) -> tuple[int, ...]:
    """Programs of ``patch`` in the training or in the held-out set."""
    programs = PROGRAMS[patch]
    if len(programs) == 1:
        return programs
    return programs[-1:] if held_out else programs[:-1]


@lru_cache(maxsize=2)
def _synth(font: str) -> object:
    """One synthesiser per soundfont and process: loading costs over a second."""
    import tinysoundfont

    synth = tinysoundfont.Synth(samplerate=SAMPLE_RATE_HZ)
    synth.sfload(str(FOLDER / font))
    return synth


def render_track(track: Track, beat_seconds: float, n_samples: int, held_out: bool) -> NDArray[np.float32]:
    """The whole track as mono float32 ``[n_samples]``."""
    from typing import Any

    rng = np.random.default_rng([track.patch_seed, 3])
    synth: Any = _synth(FONTS[int(rng.integers(2))])
    drums = track.role == "drums"
    if drums:
        kits = [kit for kit in _DRUM_KITS if (kit in _HELD_OUT_KITS) == held_out]
        synth.program_select(0, 0, 128, int(rng.choice(kits)), True)
    else:
        synth.program_select(0, 0, 0, int(rng.choice(programs_for(track.patch, held_out))), False)
    events: list[tuple[int, int, int, int]] = []  # sample, off before on, key, velocity
    for note in track.notes:
        key = _GM_DRUMS[DRUM_NAMES[note.pitch]] if drums else note.pitch
        start = round(note.start_beats * beat_seconds * SAMPLE_RATE_HZ)
        end = start + max(320, round(note.length_beats * beat_seconds * SAMPLE_RATE_HZ))
        events.append((start, 1, key, max(1, min(127, int(note.velocity * 127)))))
        events.append((end, 0, key, 0))
    events.sort()
    buffer = np.zeros((n_samples, 2), dtype=np.float32)
    position = 0
    for sample, on, key, velocity in events:
        if sample >= n_samples:
            break
        if sample > position:
            buffer[position:sample] = np.frombuffer(synth.generate_simple(sample - position), dtype=np.float32).reshape(
                -1, 2
            )
            position = sample
        if on:
            synth.noteon(0, key, velocity)
        else:
            synth.noteoff(0, key)
    if position < n_samples:
        buffer[position:] = np.frombuffer(synth.generate_simple(n_samples - position), dtype=np.float32).reshape(-1, 2)
    synth.sounds_off(0)
    synth.generate_simple(64)
    mono: NDArray[np.float32] = buffer.mean(axis=1)
    return mono


def render_midi_drums(path: Path, seconds: float, font: int = 0) -> NDArray[np.float32]:
    """The first ``seconds`` of a MIDI file's notes on the held-out kit, mono; for evaluation only."""
    from typing import Any

    import mido

    synth: Any = _synth(FONTS[font])
    synth.program_select(0, 0, 128, _HELD_OUT_KITS[0], True)
    parts, made = [], 0
    now = 0.0
    for message in mido.MidiFile(path):
        now += message.time
        until = round(min(now, seconds) * SAMPLE_RATE_HZ)
        if until > made:
            parts.append(np.frombuffer(synth.generate_simple(until - made), dtype=np.float32).reshape(-1, 2))
            made = until
        if now >= seconds:
            break
        if message.type == "note_on" and message.velocity:
            synth.noteon(0, message.note, message.velocity)
    rest = round(seconds * SAMPLE_RATE_HZ) - made
    if rest > 0:
        parts.append(np.frombuffer(synth.generate_simple(rest), dtype=np.float32).reshape(-1, 2))
    synth.sounds_off(0)
    synth.generate_simple(64)
    mono: NDArray[np.float32] = np.concatenate(parts).mean(axis=1)
    return mono
