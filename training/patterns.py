"""Rhythmic and melodic habits: small functions that turn a chord progression into notes of one loop."""

from __future__ import annotations

import numpy as np

from training.piece import DRUM_NAMES, SCALES, Note

Rng = np.random.Generator

# 16-step bar patterns of bass parts: (step, length in steps, what): r root, o octave, f fifth, a approach.
BASS_PATTERNS: dict[str, tuple[tuple[int, int, str], ...]] = {
    "offbeat": ((2, 2, "r"), (6, 2, "r"), (10, 2, "r"), (14, 2, "r")),
    "octave": tuple((2 * i, 2, "ro"[i % 2]) for i in range(8)),
    "root8": tuple((2 * i, 2, "r") for i in range(8)),
    "root16": tuple((i, 1, "r") for i in range(16) if i % 4 != 0),
    "root_half": ((0, 6, "r"), (8, 5, "r"), (14, 2, "f")),
    "sub_long": ((0, 15, "r"),),
    "dub": ((0, 3, "r"), (4, 2, "f"), (6, 2, "r"), (11, 2, "o"), (14, 2, "f")),
    "walking": ((0, 4, "r"), (4, 4, "t"), (8, 4, "f"), (12, 4, "a")),
    "tumbao": ((3, 3, "f"), (6, 6, "r"), (12, 3, "r")),
    "rumble": tuple((i, 1, "r") for i in range(16) if i % 4 in (2, 3)),
    "wobble": ((0, 4, "r"), (4, 2, "r"), (6, 2, "r"), (8, 4, "r"), (12, 1, "r"), (13, 1, "r"), (14, 2, "o")),
    "reese": ((0, 10, "r"), (10, 6, "r")),
}


def degree_pitch(key: int, mode: str, degree: int, octave: int) -> int:
    """MIDI pitch of a scale ``degree`` (0 = tonic, may exceed 6) in ``octave`` (4 = the octave of middle C)."""
    scale = SCALES[mode]
    return 12 * (octave + 1) + key + 12 * (degree // 7) + scale[degree % 7]


def drum_loop(rng: Rng, rows: dict[str, str], steps: int, bars: int, swing: float, busy: bool) -> list[Note]:
    """Notes of ``bars`` bars from 16-step rows; the ``o`` steps are decided here, once per piece."""
    notes: list[Note] = []
    dropped = {name for name in rows if name not in ("kick", "snare") and rng.random() < (0.15 if busy else 0.4)}
    for name, row in rows.items():
        if name in dropped:
            continue
        base = 0.95 if name in ("kick", "snare", "clap") else 0.65
        optional = [rng.random(steps) < 0.45 for _ in range(bars if rng.random() < 0.5 else 1)]
        accent = rng.uniform(0.55, 1.0)
        for bar in range(bars):
            for step in range(steps):
                mark = row[step]
                if mark == "." or (mark == "o" and not optional[bar % len(optional)][step]):
                    continue
                velocity = base * (0.45 if mark == "-" else 1.0) * (1.0 if step % 4 == 0 else accent)
                start = bar * steps / 4 + step / 4 + (swing / 4 if step % 2 else 0.0)
                notes.append(Note(start, 0.25, DRUM_NAMES.index(name), float(np.clip(velocity, 0.1, 1.0))))
    return notes


def bass_loop(rng: Rng, habit: str, chords: list[int], key: int, mode: str, steps: int, swing: float) -> list[Note]:
    """A bass line over one chord degree per bar."""
    notes: list[Note] = []
    octave = int(rng.choice([1, 1, 2])) if habit != "walking" else 2
    if habit in ("acid16", "syncopated", "funk16"):
        density = {"acid16": 0.75, "syncopated": 0.4, "funk16": 0.6}[habit]
        active = rng.random(16) < density
        active[0] = True
        kinds = rng.choice(list("rrrrofs"), 16)
        pattern = [
            (s, 1 if habit != "syncopated" else int(rng.integers(1, 4)), str(kinds[s])) for s in range(16) if active[s]
        ]
    else:
        pattern = list(BASS_PATTERNS[habit])
    accents = rng.uniform(0.65, 1.0, 16)
    for bar, degree in enumerate(chords):
        following = chords[(bar + 1) % len(chords)]
        for step, length, kind in pattern:
            if step >= steps:
                continue
            offset = {"r": 0, "o": 7, "f": 4, "t": 2, "s": 6, "a": 0}[kind]
            pitch = degree_pitch(key, mode, degree + offset, octave)
            if kind == "a":  # chromatic approach into the next bar's root
                pitch = degree_pitch(key, mode, following, octave) + (1 if rng.random() < 0.5 else -1)
            pitch -= 12 * int(pitch > 52)
            start = bar * steps / 4 + step / 4 + (swing / 4 if step % 2 else 0.0)
            held = min(length, steps - step) / 4 * 0.92
            notes.append(Note(start, held, pitch, float(accents[step])))
    return notes


def chord_pitches(rng: Rng, key: int, mode: str, degree: int, seventh: bool, around: int) -> list[int]:
    """A close voicing of the triad (or seventh chord) on ``degree``, every tone moved near MIDI pitch ``around``."""
    tones = [0, 2, 4, 6] if seventh else [0, 2, 4]
    pitches = []
    for tone in tones:
        pitch = degree_pitch(key, mode, degree + tone, 3)
        while pitch < around - 6:
            pitch += 12
        while pitch > around + 6:
            pitch -= 12
        pitches.append(pitch)
    return sorted(set(pitches))


def chord_loop(rng: Rng, habit: str, chords: list[int], key: int, mode: str, steps: int, swing: float) -> list[Note]:
    """A chord part over one chord degree per bar, in one rhythmic habit kept for the whole loop."""
    seventh = bool(rng.random() < 0.35) and habit != "power"
    around = int(rng.integers(55, 70))
    rhythm: list[tuple[int, int]]
    if habit == "pad":
        rhythm = [(0, steps)]
    elif habit == "offbeat":
        rhythm = [(s, 2) for s in range(2, steps, 4)]
    elif habit in ("stabs", "comp"):
        count = int(rng.integers(2, 6))
        rhythm = sorted(
            (int(s), int(rng.integers(1, 4))) for s in rng.choice(np.arange(0, steps), count, replace=False)
        )
    elif habit == "ostinato":
        rhythm = [(s, 2) for s in range(0, steps, 2)]
    else:  # strum, power
        rhythm = [(s, 2) for s in range(0, steps, 2) if rng.random() < 0.75 or s == 0]
    notes: list[Note] = []
    previous: list[int] | None = None
    for bar, degree in enumerate(chords):
        pitches = chord_pitches(rng, key, mode, degree, seventh, around)
        if habit == "power":
            root = degree_pitch(key, mode, degree, 2)
            pitches = [root, root + 7, root + 12]
        previous = previous or pitches
        spread = 0.03 if habit == "strum" else 0.0  # beats between the strings of a strum
        for step, length in rhythm:
            start = bar * steps / 4 + step / 4 + (swing / 4 if step % 2 else 0.0)
            held = min(length, steps - step) / 4 * 0.95
            if habit == "arp" or (habit == "ostinato" and len(pitches) > 1):
                pitches_now = [pitches[(step // 2) % len(pitches)]]
            else:
                pitches_now = pitches
            for index, pitch in enumerate(pitches_now):
                notes.append(Note(start + index * spread, held, pitch, 0.75 + 0.2 * (step % 4 == 0)))
    return notes


def arp_loop(rng: Rng, chords: list[int], key: int, mode: str, steps: int) -> list[Note]:
    """Broken chords in 8ths or 16ths, one direction for the whole loop."""
    every = int(rng.choice([1, 1, 2]))
    octave = int(rng.choice([3, 4, 4]))
    order = [0, 2, 4, 7, 4, 2] if rng.random() < 0.5 else [0, 2, 4, 7]
    if rng.random() < 0.3:
        order = [int(x) for x in rng.permutation(order)]
    gate = rng.uniform(0.4, 1.0)
    keep = rng.random(16) < rng.choice([0.7, 1.0])
    return [
        Note(
            bar * steps / 4 + step / 4,
            every / 4 * gate,
            degree_pitch(key, mode, degree + order[(step // every) % len(order)], octave),
            0.6 + 0.3 * (step % 4 == 0),
        )
        for bar, degree in enumerate(chords)
        for step in range(0, steps, every)
        if keep[step]
    ]


def lead_loop(rng: Rng, chords: list[int], key: int, mode: str, steps: int, swing: float) -> list[Note]:
    """A motif of one or two bars: a bounded walk on the scale with one rhythm, repeated over the loop."""
    motif_bars = min(len(chords), int(rng.choice([1, 2])))
    starts = np.flatnonzero(
        rng.random(steps * motif_bars) < rng.uniform(0.15, 0.4) * np.where(np.arange(steps * motif_bars) % 2, 0.6, 1.4)
    )
    if len(starts) == 0:
        starts = np.array([0])
    degree = int(rng.integers(0, 7))
    degrees = []
    for _ in starts:
        degree = int(np.clip(degree + rng.choice([-2, -1, -1, 0, 1, 1, 2]), -2, 9))
        degrees.append(degree)
    octave = int(rng.choice([4, 4, 5]))
    notes: list[Note] = []
    for repeat in range(len(chords) // motif_bars):
        base = repeat * motif_bars * steps / 4
        for index, step in enumerate(starts):
            end = starts[index + 1] if index + 1 < len(starts) else steps * motif_bars
            held = min(int(end - step), 6) / 4 * 0.9
            start = base + step / 4 + (swing / 4 if step % 2 else 0.0)
            notes.append(Note(float(start), float(held), degree_pitch(key, mode, degrees[index], octave), 0.8))
    return notes
