"""Loops of whole bars: exact length, and no click where the end meets the beginning."""

from __future__ import annotations

import numpy as np

from training.evaluation import measures
from training.evaluation.making import Maker
from training.evaluation.material import RATE
from training.evaluation.report import Figure, mean


def rows(maker: Maker, count: int) -> dict[str, dict[str, Figure | str]]:
    """``bars`` and ``bpm`` through the public API."""
    exact, jumps, fluxes = [], [], []
    for index in range(count):
        bars, bpm = (1, 2, 1, 4)[index % 4], float(np.linspace(84, 150, count).round(1)[index])
        clip = maker.engine.generate("house with drums and bass", bars=bars, bpm=bpm, seed=index)
        wave = clip.waveform[0]
        exact.append(float(len(wave) == round(bars * 4 * 60.0 / bpm * RATE)))
        twice = np.concatenate([wave, wave])
        jump, flux = measures.click_at(twice, len(wave))
        jumps.append(float(jump <= 0.95))
        fluxes.append(float(flux <= 0.95))
    return {
        "bars at a tempo": {
            "exact number of samples": mean(exact),
            "seam: jump within 95th percentile": mean(jumps),
            "seam: flux within 95th percentile": mean(fluxes),
        }
    }
