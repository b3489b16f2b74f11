"""Composition grammars: one row per style, data only.

Drum rows are 16 steps of a 4/4 bar: ``x`` sounds, ``o`` sounds in about half of the pieces (decided once per piece, so
that the loop repeats), ``-`` is a soft ghost note, ``.`` is silence. A 3/4 bar takes the first twelve steps.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Style:
    """The habits of one style. Every tuple is a set of choices drawn from uniformly."""

    name: str
    bpm: tuple[float, float]
    swing: tuple[float, float]  # share of a 16th by which every second 16th is late
    drums: tuple[dict[str, str], ...]
    bass: tuple[str, ...]
    chords: tuple[str, ...]  # rhythmic habit of the chord part
    modes: tuple[str, ...]
    progressions: tuple[tuple[int, ...], ...]  # scale degrees, one per bar, repeated
    bass_patches: tuple[str, ...]
    chord_patches: tuple[str, ...]
    lead_patches: tuple[str, ...]
    lead_share: float  # how often a lead or an arpeggio plays
    energy: int
    moods: tuple[str, ...]
    drum_share: float = 0.9
    triple_share: float = 0.0  # how often the bar has three beats
    humanise_ms: float = 0.0
    sidechain: float = 0.0


_FOUR = {"kick": "x...x...x...x..."}
_HOUSE = (
    {
        **_FOUR,
        "clap": "....x.......x...",
        "open_hat": "..x...x...x...x.",
        "hat": "x.-.x.-.x.-.x.-.",
        "shaker": "oooooooooooooooo",
    },
    {
        **_FOUR,
        "clap": "....x.......x..o",
        "hat": "..x...x...x...x.",
        "rim": "...o..o...o.....",
        "conga": "..o..o.o..o..o.o",
    },
    {**_FOUR, "snare": "....x.......x...", "open_hat": "..x...x...x...x.", "cowbell": "o..o..o.o..o..o."},
)
_TECHNO = (
    {**_FOUR, "hat": "..x...x...x...x.", "rim": "o..o..o..o..o..o", "clap": "....o.......o..."},
    {**_FOUR, "hat": "xxxxxxxxxxxxxxxx", "open_hat": "..x...x...x...x.", "tom_low": "...o..o....o..o."},
    {"kick": "x...x...x...x.o.", "ride": "..x...x...x...x.", "clap": "....x.......x...", "conga": "o.o..o..o.o..o.."},
)
_DNB = (
    {"kick": "x.........x.....", "snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.x.", "shaker": "-o-o-o-o-o-o-o-o"},
    {"kick": "x.x.......x..o..", "snare": "....x..-.-..x..-", "hat": "xxxxxxxxxxxxxxxx"},
    {"kick": "x.....x...x.....", "snare": "....x..o.o..x...", "ride": "x.x.x.x.x.x.x.x."},
)
_HIPHOP = (
    {"kick": "x.....o.x.x.....", "snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.x."},
    {
        "kick": "x..x....o.x..o..",
        "snare": "....x..-....x...",
        "hat": "x.x.x.xxx.x.x.x.",
        "open_hat": "..............o.",
    },
    {"kick": "x.o....x..x.....", "rim": "....x.......x...", "hat": "x-x-x-x-x-x-x-x-", "shaker": "..o...o...o...o."},
)
_TRAP = (
    {"kick": "x.....x...x.....", "clap": "........x.......", "hat": "x.x.x.x.x.xxx.x."},
    {
        "kick": "x..x..o....x..o.",
        "snare": "........x.......",
        "hat": "xxxxxxxxxxxxxxxx",
        "open_hat": "......o.........",
    },
)
_ROCK = (
    {"kick": "x.....x.x.o.....", "snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.x."},
    {"kick": "x.......x.x.....", "snare": "....x.......x...", "ride": "x.x.x.x.x.x.x.x."},
    {"kick": "x.x...o.x.x...o.", "snare": "....x.......x..o", "open_hat": "x...x...x...x..."},
)
_FUNK = (
    {"kick": "x.x...o...x..o..", "snare": "....x..-.-..x..-", "hat": "xxxxxxxxxxxxxxxx", "conga": "..o..o..o.o..o.."},
    {"kick": "x..x..x...x.....", "snare": "....x.-..-..x.-.", "hat": "x.xxx.xxx.xxx.xx", "cowbell": "o...o...o...o..."},
)
_BREAK = (
    {"kick": "x.x.......x.o...", "snare": "....x..-.-..x...", "hat": "x.x.x.x.x.x.x.x."},
    {"kick": "x..x......xx....", "snare": "....x..o....x..o", "open_hat": "..o...o...o...x."},
)
_REGGAE = (
    {"kick": "........x.......", "rim": "........x.......", "hat": "x.x.x.x.x.x.x.x.", "shaker": "o.o.o.o.o.o.o.o."},
    {"kick": "x...x...x...x...", "rim": "....o...x.....o.", "hat": "..x...x...x...x."},
)
_JAZZ = (
    {"ride": "x...x..xx...x..x", "hat": "....x.......x...", "kick": "o.......o.......", "snare": "..-....-......-."},
    {"ride": "x...x..xx...x..x", "hat": "....x.......x...", "rim": "............x..."},
)
_LATIN = (
    {
        "kick": "x..x..x.x..x..x.",
        "clave": "x..x..x...x.x...",
        "shaker": "xxxxxxxxxxxxxxxx",
        "conga": "..x..xx...x..xx.",
    },
    {"kick": "x.....x.x.....x.", "rim": "x..x..x...x..x..", "hat": "x.x.x.x.x.x.x.x.", "cowbell": "o.o..oo.o.o..oo."},
)
_AFRO = (
    {
        "kick": "x...x...x...x...",
        "shaker": "x.xxx.xxx.xxx.xx",
        "conga": "x..x..x...x.x..o",
        "cowbell": "x.x.xx.x.x.xx.x.",
        "snare": "......o.......o.",
    },
    {
        "kick": "x..x..x.x..x....",
        "clave": "x..x...x..x.x...",
        "tom_high": "..o..o....o..o..",
        "hat": "..x...x...x...x.",
    },
)
_LIGHT = (
    {"shaker": "x.-.x.-.x.-.x.-.", "kick": "x.......o......."},
    {"kick": "x.......x.......", "rim": "....x.......x...", "hat": "..x...x...x...x."},
)
_CINE = (
    {"tom_low": "x..x..x.x..x..x.", "kick": "x.......x.......", "crash": "o..............."},
    {"tom_low": "x.x.x.xxx.x.x.xx", "tom_high": "....o.......o.o."},
)

_MINOR_PROG = ((0, 5, 2, 6), (0, 3, 0, 4), (0, 6, 5, 6), (0, 0, 3, 3), (0,), (0, 5), (0, 3), (0, 2, 5, 3), (0, 6))
_MAJOR_PROG = ((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 4, 3), (0, 0, 3, 4), (0, 3), (5, 3, 0, 4), (0, 2, 3, 4), (0,))
_JAZZ_PROG = ((1, 4, 0, 0), (1, 4, 0, 5), (0, 5, 1, 4), (1, 4), (0, 3, 2, 5))
_ELECTRIC_LEADS = ("square lead", "saw lead", "fm lead", "pluck", "bell")
_SYNTH_BASS = ("sub bass", "fm bass", "saw bass", "acid bass", "square bass")
_PADS = ("supersaw pad", "fm pad", "soft pad", "string pad")


STYLES: tuple[Style, ...] = (
    Style(
        "house",
        (116, 128),
        (0.0, 0.15),
        _HOUSE,
        ("offbeat", "syncopated", "octave"),
        ("stabs", "offbeat", "pad"),
        ("minor", "dorian"),
        _MINOR_PROG,
        _SYNTH_BASS,
        ("fm keys", "organ", "supersaw pad", "sf piano", "sf electric piano"),
        _ELECTRIC_LEADS,
        0.45,
        2,
        ("groovy", "uplifting", "warm"),
        sidechain=0.4,
    ),
    Style(
        "techno",
        (125, 140),
        (0.0, 0.05),
        _TECHNO,
        ("acid16", "offbeat", "rumble"),
        ("stabs", "pad", "none"),
        ("minor", "phrygian"),
        ((0,), (0,), (0, 1), (0, 5)),
        _SYNTH_BASS,
        ("fm pad", "soft pad", "fm keys"),
        ("fm lead", "square lead", "pluck"),
        0.4,
        2,
        ("dark", "hypnotic", "driving"),
        sidechain=0.5,
    ),
    Style(
        "drum and bass",
        (166, 178),
        (0.0, 0.1),
        _DNB,
        ("sub_long", "syncopated", "reese"),
        ("pad", "stabs", "none"),
        ("minor", "dorian"),
        _MINOR_PROG,
        ("sub bass", "reese bass", "fm bass"),
        _PADS,
        _ELECTRIC_LEADS,
        0.3,
        2,
        ("dark", "energetic", "deep"),
    ),
    Style(
        "lo-fi",
        (68, 92),
        (0.15, 0.35),
        _HIPHOP,
        ("root_half", "syncopated"),
        ("pad", "comp", "strum"),
        ("minor", "major", "dorian"),
        _JAZZ_PROG + _MINOR_PROG,
        ("sub bass", "sf fretless bass", "sf acoustic bass"),
        ("fm keys", "sf electric piano", "sf piano", "sf jazz guitar"),
        ("sf vibraphone", "pluck", "sf jazz guitar", "bell"),
        0.4,
        0,
        ("warm", "relaxed", "nostalgic"),
        humanise_ms=7,
    ),
    Style(
        "hip hop",
        (82, 100),
        (0.1, 0.3),
        _HIPHOP,
        ("root_half", "syncopated", "sub_long"),
        ("stabs", "comp", "none"),
        ("minor", "dorian"),
        _MINOR_PROG,
        ("sub bass", "sf electric bass", "saw bass"),
        ("sf piano", "fm keys", "sf strings", "organ"),
        ("sf flute", "sf brass", "pluck", "saw lead"),
        0.35,
        1,
        ("laid-back", "gritty", "cool"),
        humanise_ms=5,
    ),
    Style(
        "trap",
        (130, 150),
        (0.0, 0.0),
        _TRAP,
        ("sub_long", "root_half"),
        ("pad", "none"),
        ("minor", "phrygian"),
        _MINOR_PROG,
        ("sub bass",),
        ("soft pad", "string pad", "sf strings"),
        ("bell", "pluck", "sf flute", "fm lead"),
        0.7,
        1,
        ("dark", "moody", "menacing"),
    ),
    Style(
        "synthwave",
        (80, 112),
        (0.0, 0.0),
        _ROCK + _HOUSE,
        ("root8", "octave", "root16"),
        ("pad", "stabs"),
        ("minor", "major"),
        _MINOR_PROG,
        ("saw bass", "square bass", "fm bass"),
        ("supersaw pad", "string pad", "sf synth strings"),
        ("saw lead", "square lead", "bell"),
        0.65,
        1,
        ("nostalgic", "dreamy", "driving"),
        sidechain=0.25,
    ),
    Style(
        "ambient",
        (60, 100),
        (0.0, 0.0),
        _LIGHT,
        ("sub_long", "none"),
        ("pad",),
        ("major", "minor", "dorian"),
        _MINOR_PROG + _MAJOR_PROG,
        ("sub bass",),
        (*_PADS, "sf choir", "sf strings"),
        ("bell", "pluck", "sf harp", "sf vibraphone"),
        0.6,
        0,
        ("calm", "dreamy", "floating"),
        drum_share=0.25,
        triple_share=0.05,
    ),
    Style(
        "funk",
        (94, 116),
        (0.0, 0.2),
        _FUNK,
        ("syncopated", "octave", "funk16"),
        ("comp", "stabs", "strum"),
        ("dorian", "mixolydian"),
        ((0,), (0, 3), (0, 0, 3, 3), (0, 6)),
        ("sf slap bass", "sf electric bass", "saw bass"),
        ("sf clean guitar", "sf clavinet", "organ", "fm keys"),
        ("sf brass", "sf saxophone", "saw lead"),
        0.4,
        1,
        ("groovy", "playful", "tight"),
        humanise_ms=4,
    ),
    Style(
        "disco",
        (108, 126),
        (0.0, 0.1),
        _HOUSE,
        ("octave", "syncopated", "root8"),
        ("comp", "offbeat", "strum"),
        ("minor", "major"),
        _MINOR_PROG + _MAJOR_PROG,
        ("sf electric bass", "saw bass", "sf slap bass"),
        ("sf strings", "sf clean guitar", "sf piano", "string pad"),
        ("sf brass", "sf strings", "saw lead"),
        0.4,
        2,
        ("uplifting", "happy", "groovy"),
        humanise_ms=3,
    ),
    Style(
        "rock",
        (96, 150),
        (0.0, 0.0),
        _ROCK,
        ("root8", "root_half", "syncopated"),
        ("strum", "power", "comp"),
        ("minor", "major", "mixolydian"),
        _MAJOR_PROG + _MINOR_PROG,
        ("sf electric bass", "sf picked bass"),
        ("sf distorted guitar", "sf overdriven guitar", "sf clean guitar", "organ"),
        ("sf overdriven guitar", "sf distorted guitar", "organ"),
        0.35,
        2,
        ("energetic", "raw", "driving"),
        humanise_ms=6,
    ),
    Style(
        "jazz",
        (84, 170),
        (0.25, 0.34),
        _JAZZ,
        ("walking",),
        ("comp",),
        ("major", "dorian", "minor"),
        _JAZZ_PROG,
        ("sf acoustic bass", "sf fretless bass"),
        ("sf piano", "sf jazz guitar", "sf electric piano"),
        ("sf saxophone", "sf trumpet", "sf vibraphone", "sf clarinet"),
        0.6,
        1,
        ("cool", "relaxed", "playful"),
        triple_share=0.1,
        humanise_ms=9,
    ),
    Style(
        "latin",
        (98, 136),
        (0.0, 0.0),
        _LATIN,
        ("tumbao", "root_half"),
        ("comp", "strum"),
        ("minor", "major"),
        _MINOR_PROG + _JAZZ_PROG,
        ("sf acoustic bass", "sf electric bass"),
        ("sf piano", "sf nylon guitar"),
        ("sf trumpet", "sf flute", "sf marimba"),
        0.45,
        1,
        ("happy", "playful", "warm"),
        humanise_ms=5,
    ),
    Style(
        "reggae",
        (66, 84),
        (0.0, 0.2),
        _REGGAE,
        ("dub", "root_half"),
        ("offbeat",),
        ("minor", "major"),
        ((0, 3), (0, 6), (0, 3, 4, 3), (0, 0, 3, 3)),
        ("sub bass", "sf electric bass", "saw bass"),
        ("organ", "sf clean guitar", "sf piano"),
        ("sf brass", "sf melodica", "organ"),
        0.3,
        0,
        ("laid-back", "warm", "deep"),
        humanise_ms=5,
    ),
    Style(
        "trance",
        (130, 142),
        (0.0, 0.0),
        _HOUSE[:1] + _TECHNO[:1],
        ("offbeat", "root16"),
        ("pad", "stabs"),
        ("minor", "major"),
        _MINOR_PROG,
        ("saw bass", "fm bass"),
        ("supersaw pad", "string pad"),
        ("saw lead", "pluck", "supersaw lead"),
        0.85,
        2,
        ("uplifting", "euphoric", "dreamy"),
        sidechain=0.5,
    ),
    Style(
        "electro",
        (112, 132),
        (0.0, 0.1),
        _BREAK + _TRAP,
        ("syncopated", "root16", "acid16"),
        ("stabs", "none"),
        ("minor", "phrygian"),
        _MINOR_PROG,
        _SYNTH_BASS,
        ("fm keys", "fm pad", "supersaw pad"),
        _ELECTRIC_LEADS,
        0.5,
        2,
        ("robotic", "tight", "dark"),
    ),
    Style(
        "dubstep",
        (136, 144),
        (0.0, 0.1),
        _TRAP,
        ("wobble", "sub_long"),
        ("pad", "stabs", "none"),
        ("minor", "phrygian"),
        _MINOR_PROG,
        ("reese bass", "acid bass", "fm bass"),
        ("soft pad", "fm pad", "supersaw pad"),
        ("square lead", "pluck", "bell"),
        0.35,
        2,
        ("dark", "heavy", "menacing"),
    ),
    Style(
        "breakbeat",
        (108, 138),
        (0.0, 0.2),
        _BREAK,
        ("syncopated", "root8", "reese"),
        ("stabs", "comp", "pad"),
        ("minor", "dorian"),
        _MINOR_PROG,
        ("saw bass", "sf electric bass", "reese bass"),
        ("organ", "fm keys", "sf piano"),
        _ELECTRIC_LEADS,
        0.35,
        2,
        ("energetic", "gritty", "groovy"),
        humanise_ms=3,
    ),
    Style(
        "cinematic",
        (60, 120),
        (0.0, 0.0),
        _CINE,
        ("root8", "sub_long", "none"),
        ("pad", "ostinato"),
        ("minor", "phrygian", "major"),
        _MINOR_PROG,
        ("sf contrabass", "sub bass"),
        ("sf strings", "sf choir", "sf brass", "sf strings"),
        ("sf french horn", "sf violin", "sf piano", "sf oboe"),
        0.5,
        1,
        ("epic", "tense", "solemn"),
        drum_share=0.6,
        triple_share=0.15,
        humanise_ms=6,
    ),
    Style(
        "afrobeat",
        (98, 122),
        (0.0, 0.15),
        _AFRO,
        ("syncopated", "tumbao", "funk16"),
        ("comp", "strum", "offbeat"),
        ("dorian", "minor", "mixolydian"),
        ((0,), (0, 3), (0, 6), (0, 0, 3, 3)),
        ("sf electric bass", "sub bass"),
        ("sf clean guitar", "sf electric piano", "organ"),
        ("sf brass", "sf saxophone", "sf marimba"),
        0.45,
        1,
        ("groovy", "happy", "hypnotic"),
        humanise_ms=4,
    ),
    Style(
        "chiptune",
        (110, 165),
        (0.0, 0.0),
        _ROCK + _HOUSE[:1],
        ("root8", "octave", "root16"),
        ("arp", "none"),
        ("major", "minor"),
        _MAJOR_PROG + _MINOR_PROG,
        ("square bass", "chip triangle"),
        ("chip pulse", "chip square"),
        ("chip pulse", "chip square"),
        0.9,
        2,
        ("playful", "happy", "energetic"),
    ),
    Style(
        "folk",
        (76, 128),
        (0.0, 0.1),
        _LIGHT,
        ("root_half", "none"),
        ("strum", "arp"),
        ("major", "minor", "mixolydian"),
        _MAJOR_PROG,
        ("sf acoustic bass",),
        ("sf steel guitar", "sf nylon guitar", "sf banjo"),
        ("sf flute", "sf violin", "sf accordion", "sf harmonica"),
        0.5,
        0,
        ("warm", "calm", "hopeful"),
        drum_share=0.35,
        triple_share=0.25,
        humanise_ms=8,
    ),
)
STYLE_NAMES: tuple[str, ...] = tuple(style.name for style in STYLES)
