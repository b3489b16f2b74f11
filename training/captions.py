"""Captions from exact labels: many templates, synonyms, random omission, now and then a typo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.piece import PITCH_CLASSES, Piece

_STYLE_WORDS: dict[str, tuple[str, ...]] = {
    "drum and bass": ("drum and bass", "dnb", "jungle"),
    "lo-fi": ("lo-fi", "lofi", "lo-fi hip hop", "chillhop"),
    "hip hop": ("hip hop", "boom bap", "rap beat"),
    "synthwave": ("synthwave", "retro wave", "80s synth"),
    "breakbeat": ("breakbeat", "breaks"),
    "chiptune": ("chiptune", "8-bit", "video game music"),
    "house": ("house", "deep house"),
    "ambient": ("ambient", "soundscape", "atmospheric"),
    "cinematic": ("cinematic", "film score", "orchestral"),
    "latin": ("latin", "bossa", "salsa"),
    "reggae": ("reggae", "dub"),
    "folk": ("folk", "acoustic"),
}
_ENERGY = (
    ("calm", "soft", "slow-burning", "quiet"),
    ("mid-energy", "steady", "moderate"),
    ("energetic", "driving", "powerful", "hard"),
)
_BRIGHTNESS = (
    ("dark", "dark", "muffled", "warm", "filtered", "dull"),
    ("balanced", "clean"),
    ("bright", "bright", "crisp", "sparkling", "brilliant"),
)
_DRUMS = (
    ("no drums", "without drums", "beatless", "drumless", "no percussion"),
    ("drums", "with drums", "drum beat", "beat"),
    ("drums only", "only drums", "drum loop", "just drums", "solo drums"),
)
_ROLES = {
    "bass": ("bass", "bassline"),
    "chords": ("chords", "pad", "keys"),
    "lead": ("melody", "lead"),
    "arp": ("arpeggio", "arp"),
}


@dataclass(frozen=True, slots=True)
class Mentioned:
    """What one caption says; None (or an empty tuple) where it says nothing.

    ``drums``: 0 none, 1 with, 2 only. ``brightness`` and ``energy``: 0 to 2. ``instruments``: patches without source.
    """

    style: str | None
    mood: str | None
    energy: int | None
    brightness: int | None
    drums: int | None
    bpm: float | None
    key: int | None
    mode: str | None
    instruments: tuple[str, ...]


def describe(
    piece: Piece, rng: np.random.Generator, brightness: int | None, energy: int | None, keep: float = 0.7
) -> tuple[str, Mentioned]:
    """One caption of ``piece`` and what it says; every attribute is kept at random.

    Args:
        brightness: how bright the piece sounds (0 dark, 1 balanced, 2 bright), or None where it is nothing of these:
            what was asked of the filters says little of what is heard, a bass alone is dark with any of them.
        energy: the same for how much happens in it (0 calm, 2 energetic): its style alone says little of that.
        keep: share of the captions that name what plays; the other attributes have shares of their own.
    """

    def kept(share: float) -> bool:
        return bool(rng.random() < share)

    def pick(words: tuple[str, ...]) -> str:
        return str(words[int(rng.integers(len(words)))])

    parts: list[str] = []
    mood = piece.mood if kept(0.3) else None
    energy = energy if kept(0.45) else None
    bright = brightness if kept(0.6) else None
    style = piece.style if kept(0.7) else None
    words = [mood or ""]
    words.append("" if energy is None else pick(_ENERGY[energy]))
    words.append("" if bright is None else pick(_BRIGHTNESS[bright]))
    rng.shuffle(words)
    if style is not None:
        words.append(pick(_STYLE_WORDS.get(style, (style,))) + pick(("", " loop", " beat", " track", " groove")))
    parts += [" ".join(word for word in words if word)]

    tracks = [track for track in piece.tracks if track.role != "drums"]
    named: list[str] = []
    if tracks and kept(keep):
        order = rng.permutation(len(tracks))[: int(rng.integers(1, len(tracks) + 1))]
        named = [tracks[int(i)].patch.removeprefix("sf ") for i in order]
        said = [pick(_ROLES[tracks[int(i)].role]) if kept(0.25) else n for i, n in zip(order, named, strict=True)]
        listed = pick((" and ", ", ")).join(said)
        alone = len(piece.tracks) == 1 and kept(0.6)
        parts.append(pick(("solo {}", "{} alone", "just {}", "only {}")).format(listed) if alone else
                     pick(("", "with ", "featuring ")) + listed)  # fmt: skip
    drums = (1 if tracks else 2) if piece.has_drums else 0
    said_drums = drums if kept(0.8) else None
    if said_drums is not None:
        patch = next((track.patch for track in piece.tracks if track.role == "drums"), "")
        parts.append(patch if drums == 1 and kept(0.2) else pick(_DRUMS[drums]))
    bpm = piece.bpm if kept(0.5) else None
    if bpm is not None:
        tempo = round(bpm)
        parts.append(pick((f"{tempo} bpm", f"{tempo} bpm", f"tempo {tempo}", f"at {tempo} bpm")))
    key = piece.key if tracks and kept(0.5) else None
    mode = piece.mode if key is not None and kept(0.8) else None
    if key is not None:
        parts.append(f"{pick(('in ', 'key of ', ''))}{PITCH_CLASSES[key]} {mode or ''}".strip())
    parts = [part for part in parts if part]
    rng.shuffle(parts)
    text = pick((", ", " ", ", ")).join(parts)
    if text and kept(0.15):
        text = _with_typo(text, rng)
    return text, Mentioned(style, mood, energy, bright, said_drums, bpm, key, mode, tuple(named))


def _with_typo(text: str, rng: np.random.Generator) -> str:
    """One letter lost, or two exchanged."""
    place = int(rng.integers(len(text)))
    if rng.random() < 0.5:
        return text[:place] + text[place + 1 :]
    return text[:place] + text[place : place + 2][::-1] + text[place + 2 :]
