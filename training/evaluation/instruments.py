"""Named instruments: whether a clip sounds like the one that its text names rather than like the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from training import metrics
from training.compose import HELD_OUT_SEED, compose
from training.evaluation.making import Job, Maker
from training.evaluation.material import RATE, Wave
from training.evaluation.measures import Floats
from training.evaluation.report import Figure, mean
from training.render import render

INSTRUMENTS = (
    "piano", "organ", "nylon guitar", "strings", "brass", "slap bass", "sub bass", "acid bass", "supersaw pad",
    "soft pad", "pluck", "bell",
)  # fmt: skip
SECONDS = 4.0
REFERENCES = 12


def alone(instrument: str, count: int, first: int = 50_000) -> list[Wave]:
    """``count`` tracks of held-out pieces that ``instrument`` plays, without the others."""
    out: list[Wave] = []
    seed = HELD_OUT_SEED + first
    while len(out) < count:
        piece = compose(seed, 8.0)
        seed += 1
        tracks = tuple(t for t in piece.tracks if t.patch.removeprefix("sf ") == instrument and t.notes)
        if tracks:
            wave = render(replace(piece, tracks=tracks[:1]))[RATE : RATE + round(SECONDS * RATE)]
            if metrics.level_db(wave) > -60.0:
                out.append(wave)
    return out


def others_beaten(feature: Floats, references: Sequence[Floats], own: int) -> float:
    """Share of the other instruments whose mean reference is farther from ``feature`` than that of ``own``."""
    distance = np.array([np.linalg.norm(feature - part.mean(axis=0)) for part in references])
    return float((np.delete(distance, own) > distance[own]).mean())


def rows(maker: Maker, count: int) -> dict[str, dict[str, Figure | str]]:
    """Over clips of "solo ..." and over composed tracks, each against the references but itself; chance is 0.5."""
    features = [np.stack([metrics.mean_mfcc(w) for w in alone(name, REFERENCES)]) for name in INSTRUMENTS]
    spread = np.concatenate([part - part.mean(axis=0) for part in features]).std(axis=0)
    references = [part / spread for part in features]
    named = [(place, name) for _ in range(count) for place, name in enumerate(INSTRUMENTS)]
    jobs = [Job({"text": f"solo {name}, no drums"}, seed=7001 + index) for index, (_, name) in enumerate(named)]
    made = maker.make(jobs, SECONDS)[0]
    beaten = [
        others_beaten(metrics.mean_mfcc(wave) / spread, references, place)
        for (place, _), wave in zip(named, made, strict=True)
    ]
    truth = []
    for place, part in enumerate(references):
        for index in range(len(part)):
            rest = [np.delete(p, index, axis=0) if k == place else p for k, p in enumerate(references)]
            truth.append(others_beaten(part[index], rest, place))

    def both(made: Sequence[float], composed: Sequence[float]) -> dict[str, Figure | str]:
        return {"figure": mean(made), "composed pieces": mean(composed)}

    return {
        "a named instrument alone: others that are less like it": both(beaten, truth),
        "the same, nearest of all": both([float(v == 1.0) for v in beaten], [float(v == 1.0) for v in truth]),
    }
