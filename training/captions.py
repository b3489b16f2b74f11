"""Captions from exact labels: many templates, synonyms, random omission, now and then a typo."""

from __future__ import annotations

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
_BRIGHTNESS = (("dark", "muffled", "warm", "filtered"), ("balanced", "clean"), ("bright", "crisp", "sparkling"))


def caption(piece: Piece, rng: np.random.Generator, keep: float = 0.7) -> str:
    """One description; every attribute is kept with probability ``keep``."""

    def kept(share: float = keep) -> bool:
        return bool(rng.random() < share)

    def pick(words: tuple[str, ...]) -> str:
        return str(words[int(rng.integers(len(words)))])

    parts: list[str] = []
    style = pick(_STYLE_WORDS.get(piece.style, (piece.style,)))
    if kept(0.6):
        adjectives = [
            piece.mood if kept(0.5) else "",
            pick(_ENERGY[piece.energy]) if kept(0.5) else "",
            pick(_BRIGHTNESS[piece.brightness]) if kept(0.6) else "",
        ]
        style = " ".join([a for a in adjectives if a] + [style])
    if kept(0.85):
        parts.append(style + pick(("", " loop", " beat", " track", " groove")))
    names = [track.patch.removeprefix("sf ") for track in piece.tracks if track.role != "drums"]
    if names and kept():
        rng.shuffle(names)
        parts.append(pick(("", "with ", "featuring ")) + " and ".join(names[: int(rng.integers(1, len(names) + 1))]))
    if kept(0.6):
        drum_patch = next((track.patch for track in piece.tracks if track.role == "drums"), "")
        if piece.has_drums:
            parts.append(
                pick(("drums", "with drums", "drum beat", drum_patch))
                if names
                else pick(("drums only", "drum loop", "only drums", drum_patch))
            )
        else:
            parts.append(pick(("no drums", "without drums", "beatless", "drumless")))
    if kept(0.5):
        tempo = round(piece.bpm)
        parts.append(pick((f"{tempo} bpm", f"{tempo} bpm", f"tempo {tempo}", f"at {tempo} bpm")))
    if names and kept(0.4):
        mode = piece.mode if kept(0.7) else ""
        parts.append(f"{pick(('in ', 'key of ', ''))}{PITCH_CLASSES[piece.key]} {mode}".strip())
    rng.shuffle(parts)
    text = pick((", ", " ", ", ")).join(parts)
    if text and kept(0.1):  # a typo: one letter lost or two exchanged
        place = int(rng.integers(len(text)))
        text = (
            text[:place] + text[place + 1 :]
            if kept(0.5)
            else text[:place] + text[place : place + 2][::-1] + text[place + 2 :]
        )
    return text
