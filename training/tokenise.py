"""Stage 3: ``python -m training.tokenise`` turns rendered shards into codes and labels for the language model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from soundforge.nn.starter_codec import StarterCodecNet
from soundforge.nn.starter_conditions import chroma_features
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


def mean_centroid_hz(audio: NDArray[np.int16]) -> NDArray[np.float32]:
    """Spectral centroid of int16 samples ``[pieces, T]`` at 32 kHz, frames weighted by their magnitude ``[pieces]``."""
    out = []
    for row in audio:
        frames = torch.from_numpy(np.array(row)).float()[: len(row) // 2048 * 2048].view(-1, 2048)
        magnitude = torch.fft.rfft(frames * torch.hann_window(2048)).abs().sum(0)
        out.append(float((magnitude * torch.linspace(0, 16_000, 1025)).sum() / (magnitude.sum() + 1e-6)))
    return np.array(out, dtype=np.float32)


def heard_labels(audio: NDArray[np.int16], hop: int = 640) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """What listening to int16 samples ``[pieces, T]`` gives.

    Returns:
        chroma at half the frame rate as the shipped conditioner hears it ``[pieces, T // 1280, 12]`` (255 = 1), and
        the level of every frame in dB re full scale ``[pieces, T // 640]``.
    """
    chroma, levels = [], []
    for row in audio:
        wave = torch.from_numpy(np.array(row)).float() / 32768
        frames = len(wave) // hop
        chroma.append(chroma_features(wave, 32_000, frames // 2, FRAME_RATE_HZ / 2))
        power = wave[: frames * hop].view(frames, hop).square().mean(1)
        levels.append(10 * (power + 1e-10).log10())
    return (torch.stack(chroma) * 255).round().to(torch.uint8).numpy(), torch.stack(levels).numpy().astype(np.float16)


def tokenise_shard(net: StarterCodecNet, index: int, folder: Path = TOKENS, audio_folder: Path = AUDIO) -> Path:
    """Writes ``tokens-XXXX.npz``: codes, chroma as composed and as heard (uint8), levels, tempo, seeds.

    Keeps an existing file, and the codes of one that lacks other labels.
    """
    path = folder / f"tokens-{index:04d}.npz"
    before = dict(np.load(path)) if path.exists() else {}
    if "centroid_hz" in before:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    audio = np.load(shard_path(index, audio_folder), mmap_mode="r")
    codes = before["codes"] if before else tokenise_audio(net, audio)
    seeds = index * PIECES_PER_SHARD + np.arange(len(codes))
    pieces = [compose(int(seed), PIECE_SECONDS) for seed in seeds]
    chroma = np.stack([chroma_labels(piece, codes.shape[2]) for piece in pieces])
    heard, levels = heard_labels(audio, net.config.hop_length)
    temporary = path.with_suffix(".tmp.npz")
    np.savez(
        temporary,
        codes=codes,
        chroma=np.round(chroma * 255).astype(np.uint8),
        heard_chroma=heard,
        level_db=levels,
        centroid_hz=mean_centroid_hz(audio),
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
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), help="I N: only every N-th shard, from I on")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    net = load_codec(arguments.checkpoint)
    first, step = arguments.part
    for path in sorted(AUDIO.glob("shard-????.npy"))[: arguments.shards][first::step]:
        print(tokenise_shard(net, int(path.stem.split("-")[1])).name, flush=True)
    (TOKENS / "about.json").write_text(json.dumps({"frame_rate_hz": FRAME_RATE_HZ, "codec": arguments.checkpoint.name}))


if __name__ == "__main__":
    main()
