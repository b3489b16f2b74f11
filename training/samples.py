"""CC0 one-shot samples (sonic-pi-samples) as drum kits, with every fifth file held out."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 32_000
FOLDER = Path("/usr/share/sonic-pi/samples")

# Which files may play which drum, by prefix.
_PREFIXES: dict[str, tuple[str, ...]] = {
    "kick": ("bd_", "drum_heavy_kick", "drum_bass", "elec_soft_kick", "elec_hollow_kick"),
    "snare": ("sn_", "drum_snare", "elec_snare", "elec_lo_snare", "elec_hi_snare", "elec_mid_snare"),
    "clap": ("perc_snap", "elec_filt_snare", "sn_generic", "elec_snare", "perc_impact"),
    "rim": ("elec_tick", "elec_wood", "elec_pop", "perc_snap", "elec_blip"),
    "hat": ("drum_cymbal_closed", "drum_cymbal_pedal", "elec_tick", "elec_cymbal"),
    "open_hat": ("drum_cymbal_open", "elec_cymbal", "drum_cymbal_soft"),
    "ride": ("drum_cymbal_soft", "drum_splash_soft", "drum_cymbal_pedal"),
    "crash": ("drum_cymbal_hard", "drum_splash_hard"),
    "tom_low": ("drum_tom_lo", "drum_tom_mid", "elec_fuzz_tom"),
    "tom_high": ("drum_tom_hi", "elec_bong", "elec_twip"),
    "shaker": ("elec_tick", "perc_swash", "drum_cymbal_pedal", "vinyl_scratch"),
    "cowbell": ("drum_cowbell", "elec_ping", "elec_bell", "elec_plip", "perc_till"),
    "conga": ("tabla_",),
    "clave": ("elec_wood", "elec_plip", "elec_blup", "elec_pop", "tabla_na"),
}


def is_held_out(names: list[str], name: str) -> bool:
    """Every fifth file by sorted name and every loop belongs to tests and the demo, never to training."""
    return name.startswith("loop_") or names.index(name) % 5 == 4


@lru_cache(maxsize=1)
def _names() -> list[str]:
    return sorted(path.stem for path in FOLDER.rglob("*.flac"))


@lru_cache(maxsize=256)
def load(name: str) -> NDArray[np.float32]:
    """Mono float32 at 32 kHz, at most 1.5 s, peak 0.9."""
    path = next(iter(FOLDER.rglob(f"{name}.flac")))
    data, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = soxr.resample(data.mean(axis=1), rate, SAMPLE_RATE_HZ)[: int(1.5 * SAMPLE_RATE_HZ)].astype(np.float32)
    mono *= np.float32(0.9) / (np.abs(mono).max() + np.float32(1e-6))
    mono[-320:] *= np.linspace(1, 0, len(mono[-320:]), dtype=np.float32)
    faded: NDArray[np.float32] = mono
    return faded


def sampled_hit(drum: str, kit_seed: int, held_out: bool) -> NDArray[np.float32]:
    """The sample that kit ``kit_seed`` uses for ``drum``."""
    names = _names()
    fitting = [n for n in names if n.startswith(_PREFIXES[drum])]
    allowed = [n for n in fitting if is_held_out(names, n) == held_out and not n.startswith("loop_")]
    if not allowed:  # a drum whose files all fell on the other side is left to a neighbour of the same side
        allowed = [n for n in names if n.startswith(("elec_", "drum_", "perc_")) and is_held_out(names, n) == held_out]
    index = np.random.default_rng([kit_seed, sum(map(ord, drum))]).integers(len(allowed))
    return load(allowed[int(index)])
