"""Stage 6: ``python -m training.evaluate`` measures the shipped model on loops that were never trained on.

Held-out means: other seeds, soundfont programs and samples that training leaves out. Every figure has a 95 % bootstrap
interval, and stands beside what trivial continuations score: the prompt repeated, noise shaped like the prompt, an
untrained network. Needs ``opusenc`` and ``opusdec`` for the comparison with Opus.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soundforge.nn.starter_conditions import transport_features
from soundforge.tempo import estimate_tempo
from training import metrics
from training.compose import HELD_OUT_SEED, compose
from training.losses import log_mel_distance
from training.opus import through_opus
from training.piece import Piece
from training.render import render
from training.sampling import continue_codes
from training.shipped import Shipped, load_shipped

RATE = 32_000
Wave = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Loop:
    """A held-out prompt: where it lies in its piece, its sound, and what really follows."""

    piece: Piece
    start_seconds: float
    prompt: Wave
    truth: Wave


def held_out_loops(count: int, seconds: float, first: int = 0) -> list[Loop]:
    """``count`` loops as they come: prompts of ``seconds`` from a random place, and the ``seconds`` after them."""
    loops: list[Loop] = []
    seed = HELD_OUT_SEED + first
    n = round(seconds * RATE) // 640 * 640
    while len(loops) < count:
        piece = compose(seed)
        rng = np.random.default_rng([seed, 9])
        seed += 1
        wave = render(piece)
        start = int(rng.integers(0, len(wave) - 2 * n))
        loops.append(Loop(piece, start / RATE, wave[start : start + n], wave[start + n : start + 2 * n]))
    return loops


def transport_for(loops: list[Loop], columns: int, known: bool) -> Tensor:
    """``[B, columns, W]``: from the labels (as a DAW states it), or as heard in the prompts (else zeros)."""
    rows = []
    frames = torch.arange(columns, dtype=torch.float64) + 0.5
    for loop in loops:
        bpm, per_bar = loop.piece.bpm, float(loop.piece.beats_per_bar)
        origin = -loop.start_seconds
        confidence = 1.0
        if not known:
            heard = estimate_tempo(loop.prompt, RATE)
            bpm, per_bar, confidence = heard.bpm, 4.0, heard.confidence
            origin = heard.beat_offset_seconds if heard.bar_offset_seconds is None else heard.bar_offset_seconds
        beats = (frames / 50.0 - origin) * bpm / 60.0
        values = torch.tensor([[bpm], [per_bar], [bpm / 60.0 / 50.0]], dtype=torch.float64)
        rows.append(transport_features(beats[None], *values)[0] * (confidence > 0.15))
    return torch.stack(rows)


def model_continuations(
    model: Shipped, loops: list[Loop], *, known: bool, temperature: float, top_k: int, seed: int = 0
) -> list[Wave]:
    """Continuations as long as the prompts, decoded after their prompts so that the codec is warm."""
    prompts = torch.from_numpy(np.stack([loop.prompt for loop in loops]))
    codes, _ = model.codec.encode(prompts, n_codebooks=model.n_codebooks)
    n = codes.shape[2]
    transport = transport_for(loops, 2 * n + model.n_codebooks, known)
    summed = transport @ model.projections["transport"].T
    out = []
    for begin in range(0, len(loops), 10):
        part = slice(begin, begin + 10)
        new = continue_codes(
            model.lm, codes[part], n, summed[part], temperature=temperature, top_k=top_k, seed=seed + begin
        )
        samples, _ = model.codec.decode(torch.cat([codes[part], new], dim=2))
        out += list(samples[:, n * 640 :].numpy())
    return out


def shaped_noise(loop: Loop, rng: np.random.Generator) -> Wave:
    """Noise with the prompt's long-term spectrum and level."""
    spectrum = np.abs(np.fft.rfft(loop.prompt))
    phase = np.exp(2j * np.pi * rng.random(len(spectrum)))
    smooth = np.convolve(spectrum, np.ones(64) / 64, mode="same")
    noise = np.fft.irfft(smooth * phase, len(loop.prompt))
    return np.asarray(noise / (np.std(noise) + 1e-9) * np.std(loop.prompt), dtype=np.float32)


def score(loops: list[Loop], made: list[Wave]) -> dict[str, tuple[float, float, float]]:
    """Figure with its interval: tempo kept, chroma AUC, timbre AUC, loudness within 3 dB."""
    tempo = np.array([metrics.tempo_agrees(wave, loop.piece.bpm) for loop, wave in zip(loops, made, strict=True)])
    level = np.array(
        [abs(metrics.level_db(w) - metrics.level_db(p.prompt)) < 3.0 for p, w in zip(loops, made, strict=True)]
    )
    chroma = (
        np.stack([metrics.mean_chroma(p.prompt) for p in loops]) @ np.stack([metrics.mean_chroma(w) for w in made]).T
    )
    a = np.stack([metrics.mean_mfcc(p.prompt) for p in loops])
    b = np.stack([metrics.mean_mfcc(w) for w in made])
    timbre = -np.linalg.norm((a[:, None] - b[None]) / a.std(axis=0), axis=-1)
    pitched = np.array([any(t.role != "drums" for t in p.piece.tracks) for p in loops])

    def interval(statistic: Callable[[NDArray[np.int64]], float], n: int) -> tuple[float, float, float]:
        return (statistic(np.arange(n)), *metrics.bootstrap(n, statistic))

    chroma = chroma[np.ix_(pitched, pitched)]
    return {
        "tempo within 3 %": interval(lambda i: float(tempo[i].mean()), len(tempo)),
        "chroma AUC": interval(lambda i: _auc_of(chroma, i), len(chroma)),
        "timbre AUC": interval(lambda i: _auc_of(timbre, i), len(timbre)),
        "level within 3 dB": interval(lambda i: float(level[i].mean()), len(level)),
    }


def _auc_of(similarity: NDArray[np.float64], rows: NDArray[np.int64]) -> float:
    """AUC over resampled items; an item drawn twice is not its own false partner."""
    part = similarity[np.ix_(rows, rows)]
    false = part[rows[:, None] != rows[None]]
    return metrics.auc(np.diag(part), false)


def codec_table(model: Shipped, loops: list[Loop]) -> list[str]:
    """Lines of the codec comparison: log-mel distance of the starter and of Opus, and codebook use."""
    waves = torch.from_numpy(np.stack([np.concatenate([loop.prompt, loop.truth]) for loop in loops]))
    lines = []

    def row(name: str, made: Tensor) -> None:
        each = np.array([float(log_mel_distance(t[None], m[None])) for t, m in zip(waves, made, strict=True)])
        low, high = metrics.bootstrap(len(each), lambda i: float(each[i].mean()))
        lines.append(f"| {name} | {each.mean():.3f} | {low:.3f} to {high:.3f} |")

    codes, _ = model.codec.encode(waves)
    for count in range(1, codes.shape[1] + 1):
        row(f"starter, {count} codebooks, {count * 0.5:.1f} kbit/s", model.codec.decode(codes[:, :count])[0])
    for kbits in (6, 8, 12, 16, 24):
        row(f"Opus {kbits} kbit/s", torch.from_numpy(np.stack([through_opus(w.numpy(), kbits) for w in waves])))
    used = [len(set(codes[:, k].flatten().tolist())) for k in range(codes.shape[1])]
    lines.append(f"\nEntries used of 1024 per codebook, on {waves.numel() / RATE:.0f} s: {used}")
    return lines


def real_time_factor(model: Shipped, seconds: float = 8.0) -> float:
    """Seconds of audio per second of computing for one continuation without guidance, codec included."""
    prompt = torch.zeros(1, round(4 * RATE)) + 0.01 * torch.randn(1, 4 * RATE)
    began = time.perf_counter()
    codes, _ = model.codec.encode(prompt, n_codebooks=model.n_codebooks)
    new = continue_codes(model.lm, codes, round(seconds * 50), None)
    model.codec.decode(new)
    return seconds / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loops", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--temperature", type=float, default=None)
    parser.add_argument("--top-k", type=int, default=None)
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--no-codec", action="store_true")
    arguments = parser.parse_args()
    model = load_shipped(arguments.weights)
    temperature = model.defaults["temperature"] if arguments.temperature is None else arguments.temperature
    top_k = model.defaults["top_k"] if arguments.top_k is None else arguments.top_k
    loops = held_out_loops(arguments.loops, arguments.seconds)
    rng = np.random.default_rng(0)
    rows: dict[str, list[Wave]] = {
        "starter, tempo stated": model_continuations(model, loops, known=True, temperature=temperature, top_k=top_k),
        "starter, tempo heard": model_continuations(model, loops, known=False, temperature=temperature, top_k=top_k),
        "prompt repeated": [loop.prompt for loop in loops],
        "noise shaped like the prompt": [shaped_noise(loop, rng) for loop in loops],
        "untrained network": model_continuations(
            model.untrained(), loops, known=True, temperature=temperature, top_k=top_k
        ),
        "what really follows": [loop.truth for loop in loops],
    }
    styles = len({loop.piece.style for loop in loops})
    print(
        f"{len(loops)} held-out loops in {styles} styles, {arguments.seconds:g} s from {arguments.seconds:g} s, "
        f"temperature {temperature}, top-k {top_k}\n"
    )
    results = {name: score(loops, made) for name, made in rows.items()}
    names = list(next(iter(results.values())))
    print("| continuation | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1))
    for name, values in results.items():
        cells = [f"{v[0]:.2f} ({v[1]:.2f} to {v[2]:.2f})" for v in values.values()]
        print(f"| {name} | " + " | ".join(cells) + " |")
    if not arguments.no_codec:
        print("\n| codec | log-mel distance | interval |\n|---|---|---|")
        print("\n".join(codec_table(model, loops)))
    print(f"\nReal-time factor, {torch.get_num_threads()} threads: {real_time_factor(model):.1f}")
    print(json.dumps({name: {k: v[0] for k, v in values.items()} for name, values in results.items()}))


if __name__ == "__main__":
    main()
