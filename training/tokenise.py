"""Stage 3: ``python -m training.tokenise`` turns rendered shards into codes and labels for the language model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from soundforge.nn.starter_codec import StarterCodecNet
from training.cache import AUDIO, PIECE_SECONDS, PIECES_PER_SHARD, RUNS, shard_path
from training.codec import CHECKPOINT, load_codec
from training.compose import compose
from training.frame_labels import FRAME_RATE_HZ, chroma_labels

TOKENS = RUNS / "tokens"


def tokenise_audio(net: StarterCodecNet, audio: NDArray[np.int16], batch: int = 4) -> NDArray[np.int16]:
    """int16 samples ``[pieces, T]`` -> codes ``[pieces, K, T // 640]``."""
    hop = net.config.hop_length
    rows = []
    for start in range(0, len(audio), batch):
        wave = torch.from_numpy(np.array(audio[start : start + batch])).float() / 32768
        codes, _ = net.encode(wave[:, : wave.shape[1] // hop * hop])
        rows.append(codes.to(torch.int16).numpy())
    return np.concatenate(rows)


def tokenise_shard(net: StarterCodecNet, index: int, folder: Path = TOKENS, audio_folder: Path = AUDIO) -> Path:
    """Writes ``tokens-XXXX.npz`` with codes, chroma (uint8) and the seeds; keeps an existing file."""
    path = folder / f"tokens-{index:04d}.npz"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    codes = tokenise_audio(net, np.load(shard_path(index, audio_folder), mmap_mode="r"))
    seeds = index * PIECES_PER_SHARD + np.arange(len(codes))
    pieces = [compose(int(seed), PIECE_SECONDS) for seed in seeds]
    chroma = np.stack([chroma_labels(piece, codes.shape[2]) for piece in pieces])
    temporary = path.with_suffix(".tmp.npz")
    np.savez(
        temporary,
        codes=codes,
        chroma=np.round(chroma * 255).astype(np.uint8),
        seeds=seeds,
        bpm=np.array([p.bpm for p in pieces]),
        beats_per_bar=np.array([p.beats_per_bar for p in pieces]),
    )
    temporary.rename(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--shards", type=int, default=None, help="how many shards at most")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    net = load_codec(arguments.checkpoint)
    for path in sorted(AUDIO.glob("shard-????.npy"))[: arguments.shards]:
        print(tokenise_shard(net, int(path.stem.split("-")[1])).name, flush=True)
    (TOKENS / "about.json").write_text(json.dumps({"frame_rate_hz": FRAME_RATE_HZ, "codec": arguments.checkpoint.name}))


if __name__ == "__main__":
    main()
