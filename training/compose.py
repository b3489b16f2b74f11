"""A piece from a seed: style, tempo, key, parts, and a loop that repeats with small variations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training import patterns
from training.piece import DRUM_NAMES, Note, Piece, Track
from training.styles import STYLES, Style

Rng = np.random.Generator

# Seeds from here on are never trained on; they also use the soundfont programs and samples that training leaves out.
HELD_OUT_SEED = 1_000_000_000
# Pieces of these seeds lose all but one or two of their pitched parts: who asks for a piano alone wants just that, and
# composed pieces hardly ever are so bare.
SOLO_SEEDS = range(900_000, 1_000_000)
_SAMPLE_DRUM_SHARE = 0.22
_SOUNDFONT_DRUM_SHARE = 0.30


def compose(seed: int, minimum_seconds: float = 20.0) -> Piece:
    """Composes the piece of ``seed``, at least ``minimum_seconds`` long; the same seed gives the same piece."""
    rng = np.random.default_rng(seed)
    style: Style = STYLES[int(rng.integers(len(STYLES)))]
    bpm = float(rng.uniform(*style.bpm))
    if rng.random() < 0.5:
        bpm = float(round(bpm))  # people type whole tempi
    if rng.random() < 0.15:
        bpm = float(np.clip(bpm * rng.uniform(0.8, 1.25), 55.0, 185.0))  # styles do not own their tempo
    beats_per_bar = 3 if rng.random() < style.triple_share else 4
    steps = beats_per_bar * 4
    swing = float(rng.uniform(*style.swing)) if rng.random() < 0.7 else 0.0
    key = int(rng.integers(12))
    mode = str(rng.choice(style.modes))
    progression = style.progressions[int(rng.integers(len(style.progressions)))]
    loop_bars = int(rng.choice([1, 2, 2, 4])) if len(progression) < 4 else int(rng.choice([2, 4, 4]))
    chords = [progression[bar % len(progression)] for bar in range(loop_bars)]
    bar_seconds = beats_per_bar * 60.0 / bpm
    bars = int(np.ceil(minimum_seconds / bar_seconds))
    brightness = int(rng.integers(3))
    energy = int(np.clip(style.energy + rng.integers(-1, 2) * (rng.random() < 0.4), 0, 2))

    loops = _loops(rng, style, chords, key, mode, steps, swing, energy)
    if not loops:  # a piece of silence helps nobody: at least a pad
        loops = [("chords", "synth", "soft pad", patterns.chord_loop(rng, "pad", chords, key, mode, steps, swing))]
    effects_rng = np.random.default_rng([seed, 1])
    tracks = tuple(
        _decorate(
            effects_rng,
            style,
            brightness,
            role,
            source,
            patch,
            _unfold(rng, style, notes, loop_bars, bars, beats_per_bar, role, 60.0 / bpm),
        )
        for role, source, patch, notes in loops
    )
    if seed in SOLO_SEEDS:
        tracks = _thinned(effects_rng, tracks)
    return Piece(
        seed=seed,
        style=style.name,
        bpm=bpm,
        beats_per_bar=beats_per_bar,
        loop_bars=loop_bars,
        bars=bars,
        key=key,
        mode=mode,
        tracks=tracks,
        energy=energy,
        brightness=brightness,
        mood=str(rng.choice(style.moods)),
        level_db=float(rng.uniform(-26.0, -13.0)),
        held_out=seed >= HELD_OUT_SEED,
    )


def _loops(
    rng: Rng, style: Style, chords: list[int], key: int, mode: str, steps: int, swing: float, energy: int
) -> list[tuple[str, str, str, list[Note]]]:
    """Which parts play and the notes of one loop each: (role, source, patch, notes)."""
    parts: list[tuple[str, str, str, list[Note]]] = []
    only = rng.random()  # some captures are one instrument alone
    bars = len(chords)
    with_drums = rng.random() < style.drum_share and not 0.12 < only < 0.24
    with_pitch = only > 0.12
    if with_drums or not with_pitch:
        rows = style.drums[int(rng.integers(len(style.drums)))]
        draw = rng.random()
        acoustic = style.humanise_ms > 0 and rng.random() < 0.5
        source = (
            "samples"
            if draw < _SAMPLE_DRUM_SHARE
            else "soundfont"
            if draw < _SAMPLE_DRUM_SHARE + _SOUNDFONT_DRUM_SHARE or acoustic
            else "synth"
        )
        name = {"samples": "sampled drums", "soundfont": "acoustic drums", "synth": "drum machine"}[source]
        parts.append(("drums", source, name, patterns.drum_loop(rng, rows, steps, bars, swing, energy > 0)))
    if not with_pitch:
        return parts
    bass_habit = str(rng.choice(style.bass))
    if bass_habit != "none" and rng.random() < 0.85:
        patch = str(rng.choice(style.bass_patches))
        parts.append(
            ("bass", _source(patch), patch, patterns.bass_loop(rng, bass_habit, chords, key, mode, steps, swing))
        )
    chord_habit = str(rng.choice(style.chords))
    if chord_habit != "none" and rng.random() < 0.8:
        patch = str(rng.choice(style.chord_patches))
        parts.append(
            ("chords", _source(patch), patch, patterns.chord_loop(rng, chord_habit, chords, key, mode, steps, swing))
        )
    if rng.random() < style.lead_share:
        patch = str(rng.choice(style.lead_patches))
        if rng.random() < 0.4:
            parts.append(("arp", _source(patch), patch, patterns.arp_loop(rng, chords, key, mode, steps)))
        else:
            parts.append(("lead", _source(patch), patch, patterns.lead_loop(rng, chords, key, mode, steps, swing)))
    return parts


def _thinned(rng: Rng, tracks: tuple[Track, ...]) -> tuple[Track, ...]:
    """One pitched part, or two in a third of the cases; as it was where there is none."""
    pitched = [track for track in tracks if track.role != "drums"]
    if not pitched:
        return tracks
    kept = rng.permutation(len(pitched))[: 1 + int(rng.random() < 0.33)]
    return tuple(pitched[int(index)] for index in sorted(kept))


def _source(patch: str) -> str:
    return "soundfont" if patch.startswith("sf ") else "synth"


def _unfold(
    rng: Rng,
    style: Style,
    loop: list[Note],
    loop_bars: int,
    bars: int,
    beats_per_bar: int,
    role: str,
    beat_seconds: float,
) -> tuple[Note, ...]:
    """Repeats the loop to ``bars`` bars: fixed groove per loop, a few dropped notes, new velocities, fills."""
    sigma = style.humanise_ms / 1000.0 / beat_seconds
    groove = np.clip(rng.normal(0.0, 1.0, len(loop)) * sigma, -2 * sigma, 2 * sigma)
    drop = float(rng.choice([0.0, 0.0, 0.03, 0.06]))
    loose = float(rng.choice([0.02, 0.05, 0.1]))
    fills = role == "drums" and rng.random() < 0.5
    fill_every = int(rng.choice([4, 8]))
    notes: list[Note] = []
    for bar in range(0, bars, loop_bars):
        for note, shift in zip(loop, groove, strict=True):
            start = bar * beats_per_bar + note.start_beats + float(shift)
            in_bar = note.start_beats % beats_per_bar
            if start >= bars * beats_per_bar or (rng.random() < drop and in_bar > 0):
                continue
            velocity = float(np.clip(note.velocity * (1.0 + loose * rng.normal()), 0.08, 1.0))
            notes.append(replace(note, start_beats=max(0.0, start), velocity=velocity))
    if fills:
        for bar in range(fill_every - 1, bars, fill_every):
            notes.extend(_fill(rng, (bar + 1) * beats_per_bar))
    return tuple(sorted(notes, key=lambda n: (n.start_beats, n.pitch)))


def _fill(rng: Rng, end_beats: int) -> list[Note]:
    """One or two beats of snare and toms that lead into ``end_beats``."""
    steps = int(rng.choice([2, 4, 4]))
    names = rng.choice(["snare", "tom_low", "tom_high", "snare"], steps)
    return [
        Note(end_beats - (steps - i) / 4, 0.25, DRUM_NAMES.index(str(names[i])), 0.5 + 0.4 * i / steps)
        for i in range(steps)
    ]


def _decorate(
    rng: Rng, style: Style, brightness: int, role: str, source: str, patch: str, notes: tuple[Note, ...]
) -> Track:
    """Level and effects of a track; a dark piece is filtered, a bright one is not."""
    cutoff: float | None = None
    if brightness == 0 and role != "bass":
        cutoff = float(np.exp(rng.uniform(np.log(900.0), np.log(4000.0))))
        cutoff *= 2.0 if role == "drums" else 1.0
    elif brightness == 1 and rng.random() < 0.4:
        cutoff = float(np.exp(rng.uniform(np.log(3000.0), np.log(9000.0))))
    gain = {"drums": 1.0, "bass": 0.8, "chords": 0.5, "arp": 0.45, "lead": 0.5}[role] * float(
        10 ** rng.uniform(-0.25, 0.2)
    )
    wet = (
        0.0
        if role == "bass"
        else float(rng.choice([0.0, 0.08, 0.2, 0.35] if role != "drums" else [0.0, 0.0, 0.06, 0.15]))
    )
    delay = float(rng.choice([0.0, 0.0, 0.25, 0.4])) if role in ("lead", "arp") else 0.0
    duck = style.sidechain * float(rng.uniform(0.5, 1.5)) if role in ("bass", "chords", "arp") else 0.0
    drive = float(rng.choice([0.0, 0.0, 0.0, 1.0, 3.0]))
    return Track(role, source, patch, int(rng.integers(2**31)), notes, gain, cutoff, delay, wet, min(duck, 0.9), drive)
