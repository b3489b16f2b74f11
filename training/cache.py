"""Stage 1: ``python -m training.cache`` renders pieces once into ``training/runs/audio`` as 16-bit shards.

Shard ``i`` holds the pieces of seeds ``i * 100 .. i * 100 + 99``, 20 s each, int16 ``[100, 640000]``. Labels are not
stored: they follow from the seed. Existing shards are kept, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.compose import compose
from training.render import SAMPLE_RATE_HZ, render

RUNS = Path(__file__).parent / "runs"
AUDIO = RUNS / "audio"
PIECE_SECONDS = 20
PIECES_PER_SHARD = 100


def shard_path(index: int, folder: Path = AUDIO) -> Path:
    """Where shard ``index`` lies."""
    return folder / f"shard-{index:04d}.npy"


def render_shard(
    index: int, folder: Path = AUDIO, pieces: int = PIECES_PER_SHARD, seconds: int = PIECE_SECONDS
) -> Path:
    """Renders one shard under a temporary name, then renames it."""
    path = shard_path(index, folder)
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    data = np.zeros((pieces, seconds * SAMPLE_RATE_HZ), dtype=np.int16)
    for row in range(pieces):
        wave = render(compose(index * PIECES_PER_SHARD + row, seconds))[: data.shape[1]]
        data[row, : len(wave)] = np.round(np.clip(wave, -1, 1) * 32767)
    temporary = path.with_suffix(".tmp.npy")
    np.save(temporary, data)
    temporary.rename(path)
    return path


def open_shards(folder: Path = AUDIO) -> list[NDArray[np.int16]]:
    """All finished shards, memory-mapped, in order of their index."""
    return [np.load(path, mmap_mode="r") for path in sorted(folder.glob("shard-????.npy"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=11.0)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    shards = max(1, round(arguments.hours * 3600 / (PIECE_SECONDS * PIECES_PER_SHARD)))
    began = time.monotonic()
    with get_context("spawn").Pool(arguments.workers) as pool:
        for done, path in enumerate(pool.imap(render_shard, range(shards)), 1):
            print(f"{done}/{shards} {path.name} {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
