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

from training.compose import SOLO_SEEDS, compose
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
    parser.add_argument("--bare-hours", type=float, default=0.0, help="of one or two pitched parts alone")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    hours_of_shard = PIECE_SECONDS * PIECES_PER_SHARD / 3600
    whole, bare = (round(hours / hours_of_shard) for hours in (arguments.hours, arguments.bare_hours))
    first_bare = SOLO_SEEDS.start // PIECES_PER_SHARD
    shards = [*range(max(1, whole)), *range(first_bare, first_bare + bare)]
    began = time.monotonic()
    with get_context("spawn").Pool(arguments.workers) as pool:
        for done, path in enumerate(pool.imap(render_shard, shards), 1):
            print(f"{done}/{len(shards)} {path.name} {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
