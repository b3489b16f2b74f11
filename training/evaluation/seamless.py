"""Loops of whole bars: exact length, and no click where the end meets the beginning."""

from __future__ import annotations

import numpy as np

from training.evaluation import measures
from training.evaluation.making import Maker
from training.evaluation.material import RATE
from training.evaluation.report import Figure, mean


def rows(maker: Maker, count: int) -> dict[str, dict[str, Figure | str]]:
    """``bars`` and ``bpm`` as ``soundforge render --bars --bpm`` makes them, through the public API."""
    exact, jumps, fluxes = [], [], []
    for index in range(count):
        bars, bpm = (1, 2, 1, 4)[index % 4], float(np.linspace(84, 150, count).round(1)[index])
        clip = maker.engine.generate("house with drums and bass", bars=bars, bpm=bpm, seed=index, loop=True)
        wave = clip.waveform[0]
        exact.append(float(len(wave) == round(bars * 4 * 60.0 / bpm * RATE)))
        steps = np.abs(np.diff(wave.astype(np.float64)))
        largest = steps[: len(steps) // 640 * 640].reshape(-1, 640).max(axis=1)
        jumps.append(float(abs(float(wave[0]) - float(wave[-1])) <= np.quantile(largest, 0.95)))
        # The first beat of a bar is an onset anyway: the seam may not stand out from the strongest ones.
        fluxes.append(float(measures.click_at(np.concatenate([wave, wave]), len(wave))[1] < 1.0))
    return {
        "bars at a tempo": {
            "exact number of samples": mean(exact),
            "seam: step within 95th percentile": mean(jumps),
            "seam: flux below the largest": mean(fluxes),
        }
    }
