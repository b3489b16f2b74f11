"""The tempo a description implies: the usual one of the style it names."""

from __future__ import annotations

import random
import re

USUAL_BPM: dict[str, tuple[int, int]] = {
    "drum and bass": (168, 176), "dnb": (168, 176), "jungle": (164, 174), "house": (118, 126), "techno": (126, 138),
    "trance": (132, 140), "electro": (114, 130), "dubstep": (138, 142), "breakbeat": (112, 136), "breaks": (112, 136),
    "disco": (110, 124), "funk": (96, 114), "rock": (100, 140), "jazz": (96, 150), "latin": (100, 130),
    "bossa": (104, 130), "salsa": (104, 132), "reggae": (68, 82), "dub": (68, 82), "trap": (132, 148),
    "hip hop": (84, 98), "boom bap": (84, 98), "rap": (84, 98), "lo-fi": (70, 90), "lofi": (70, 90),
    "chillhop": (70, 90), "synthwave": (84, 110), "retro wave": (84, 110), "ambient": (64, 96),
    "soundscape": (64, 96), "atmospheric": (64, 96), "cinematic": (66, 114), "film score": (66, 114),
    "orchestral": (66, 114), "afrobeat": (100, 120), "chiptune": (116, 160), "8-bit": (116, 160),
    "video game": (116, 160), "folk": (80, 124), "acoustic": (80, 124),
}  # fmt: skip
OTHERWISE_BPM = (92, 128)
SLOW_BPM, FAST_BPM = (64, 88), (132, 156)
"""What "slow" and "fast" are where no style is named; a named one is played in that third of its range."""
_BEATLESS = re.compile(r"\b(?:no|without)\s+(?:drum|percussion|beat)|\b(?:drum|beat)less\b")
_SLOW = re.compile(
    r"\b(?:slow|slowly|slow-burning|calm|calming|relaxed|relaxing|gentle|mellow|sleepy|laid[ -]back|down-?tempo)\b"
)
_FAST = re.compile(r"\b(?:fast|quick|rapid|energetic|energising|energizing|driving|frantic|hectic|upbeat|up-?tempo)\b")


def usual_tempo(text: str, seed: int) -> float | None:
    """A whole tempo in BPM from the range of the longest style name in ``text``; the same seed gives the same.

    Words such as "calm" and "energetic" choose the slower or the faster end of it. None for a text that wants no
    drums: a stated beat, with guidance, pulls drums in.
    """
    low = text.lower()
    if _BEATLESS.search(low):
        return None
    named = [style for style in USUAL_BPM if re.search(rf"(?<![a-z0-9]){re.escape(style)}(?![a-z0-9])", low)]
    slower, faster = bool(_SLOW.search(low)), bool(_FAST.search(low))
    slowest, fastest = USUAL_BPM[max(named, key=len)] if named else OTHERWISE_BPM
    if slower != faster:
        third = (fastest - slowest) // 3
        if named:
            slowest, fastest = (slowest, slowest + third) if slower else (fastest - third, fastest)
        else:
            slowest, fastest = SLOW_BPM if slower else FAST_BPM
    return float(random.Random(seed).randint(slowest, fastest))
