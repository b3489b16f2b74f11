"""Text: what was asked for is measured in clips made from nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from training.compose import HELD_OUT_SEED, compose
from training.evaluation import measures
from training.evaluation.making import Job, Maker
from training.evaluation.material import Wave
from training.evaluation.measures import Floats
from training.evaluation.report import Figure, mean, two_auc
from training.piece import PITCH_CLASSES

STYLES = (
    "house", "techno", "hip hop", "funk", "disco", "rock", "jazz", "latin", "reggae", "trance", "electro", "synthwave",
    "lo-fi", "ambient", "folk", "chiptune",
)  # fmt: skip
KEYS = ("minor", "major", "dorian")
SECONDS = 4.0


def _made(maker: Maker, texts: Sequence[str], seed: int) -> list[Wave]:
    jobs = [Job({"text": text}, seed=seed + index) for index, text in enumerate(texts)]
    return maker.make(jobs, SECONDS)[0]


def two_ways(
    maker: Maker, high: str, low: str, measure: Callable[[Wave], float], count: int, seed: int
) -> tuple[Figure, list[float], list[float]]:
    """AUC of ``measure`` between clips of the texts ``high`` and ``low``; ``{}`` in a text becomes a style."""
    styles = [STYLES[i % len(STYLES)] for i in range(count)]
    a, b = (
        [measure(w) for w in _made(maker, [text.format(s) for s in styles], seed + part * 1000)]
        for part, text in enumerate((high, low))
    )
    return two_auc(a, b), a, b


def tempo(maker: Maker, count: int) -> Figure:
    """Share of clips whose tempo is the asked one within 3 %."""
    asked = np.linspace(80, 170, count).round()
    texts = [f"{STYLES[i % 13]} with drums, {bpm:g} bpm" for i, bpm in enumerate(asked)]
    made = _made(maker, texts, 9000)
    return mean([float(measures.tempo_error(w, bpm) <= 0.03) for w, bpm in zip(made, asked, strict=True)])


def key(maker: Maker, count: int) -> tuple[Figure, Figure]:
    """Share of clips with 85 % of their chroma energy in the asked scale, and the mean share."""
    asked = [(i * 5 % 12, KEYS[i % 3]) for i in range(count)]
    texts = [f"piano and bass, no drums, in {PITCH_CLASSES[k]} {mode}" for k, mode in asked]
    shares = [measures.share_in_scale(w, *a) for w, a in zip(_made(maker, texts, 9500), asked, strict=True)]
    return mean([float(share >= 0.85) for share in shares]), mean(shares)


def _typo(text: str, rng: np.random.Generator) -> str:
    place = int(rng.integers(1, len(text) - 1))
    return text[:place] + text[place + 1 :]


def rows(maker: Maker, count: int) -> dict[str, dict[str, Figure | str]]:
    """One row per thing that texts ask for."""
    percussive, bright = measures.percussive_ratio, measures.centroid_hz
    drums, _, _ = two_ways(maker, "{} drums only", "{} no drums", percussive, count, 1)
    with_without, _, _ = two_ways(maker, "{} with drums", "{} without drums", percussive, count, 2001)
    brightness, _, _ = two_ways(maker, "bright {}", "dark {}", bright, count, 4001)
    energy, _, _ = two_ways(maker, "energetic {}", "calm {}", onset_rate, count, 6001)
    rng = np.random.default_rng(3)
    texts = [_typo("drums only", rng) for _ in range(count)], [_typo("no drums", rng) for _ in range(count)]
    wrong = two_auc(*[[percussive(w) for w in _made(maker, part, 8001 + 500 * i)] for i, part in enumerate(texts)])
    in_key, share = key(maker, count)
    same = [Job({"text": "techno with drums, 128 bpm"}, seed=seed) for seed in range(8)]
    codes = maker.make(same, SECONDS)[1]
    pairs = [(i, j) for i in range(len(codes)) for j in range(i)]
    equal = mean([float((codes[i] == codes[j]).float().mean()) for i, j in pairs])
    return {
        "drums only / no drums, AUC of percussive to harmonic": {"figure": drums, "asked for": "0.97"},
        "with drums / without drums, the same": {"figure": with_without, "asked for": ""},
        "the first with a letter missing": {"figure": wrong, "asked for": "gently worse"},
        "bright / dark, AUC of spectral centroid": {"figure": brightness, "asked for": "0.95"},
        "energetic / calm, AUC of onsets a second": {"figure": energy, "asked for": ""},
        "tempo within 3 %": {"figure": tempo(maker, count), "asked for": "0.85"},
        "85 % of chroma in the asked scale": {"figure": in_key, "asked for": "0.75"},
        "share of chroma in the asked scale": {"figure": share, "asked for": "(chance 0.58)"},
        "equal codes between two seeds": {"figure": equal, "asked for": "few"},
    }


def truth(count: int) -> dict[str, dict[str, Figure | str]]:
    """The same figures on composed pieces that fit the texts: what the measures themselves can tell apart."""
    from training.lm_data import thirds
    from training.render import render

    pieces = [compose(HELD_OUT_SEED + 20_000 + i) for i in range(count * 4)]
    waves = [render(piece)[: round(SECONDS * 32_000)] for piece in pieces]
    ratio = [measures.percussive_ratio(w) for w in waves]
    centroid = np.array([measures.centroid_hz(w) for w in waves])
    only = [r for r, p in zip(ratio, pieces, strict=True) if all(t.role == "drums" for t in p.tracks)]
    none = [r for r, p in zip(ratio, pieces, strict=True) if not p.has_drums]
    some = [r for r, p in zip(ratio, pieces, strict=True) if p.has_drums]
    bright, dark = _ends(centroid, thirds(centroid))
    energetic, calm = _ends([onset_rate(w) for w in waves], thirds(np.array([p.onsets_per_second for p in pieces])))
    shares = [
        measures.share_in_scale(w, p.key, p.mode)
        for w, p in zip(waves, pieces, strict=True)
        if not p.has_drums
    ]  # fmt: skip
    drummed = [(w, p) for w, p in zip(waves, pieces, strict=True) if p.has_drums][:count]
    return {
        "drums only / no drums, AUC of percussive to harmonic": {"composed pieces": two_auc(only, none)},
        "with drums / without drums, the same": {"composed pieces": two_auc(some, none)},
        "bright / dark, AUC of spectral centroid": {"composed pieces": two_auc(bright, dark)},
        "energetic / calm, AUC of onsets a second": {"composed pieces": two_auc(energetic, calm)},
        "tempo within 3 %": {"composed pieces": mean([float(measures.tempo_error(w, p.bpm) <= 0.03)
                                                      for w, p in drummed])},
        "85 % of chroma in the asked scale": {"composed pieces": mean([float(s >= 0.85) for s in shares])},
        "share of chroma in the asked scale": {"composed pieces": mean(shares)},
    }  # fmt: skip


def _ends(values: Sequence[float] | Floats, place: Sequence[int | None]) -> tuple[list[float], list[float]]:
    """Those of the highest and of the lowest place."""
    high, low = ([float(v) for v, p in zip(values, place, strict=True) if p == which] for which in (2, 0))
    return high, low


def onset_rate(wave: Wave) -> float:
    """Strong onsets a second."""
    return len(measures.strong_onsets(wave)) / (len(wave) / 32_000)

