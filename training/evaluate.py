"""Stage 6: ``python -m training.evaluate`` measures the shipped model on what was never trained on.

Held-out means: other seeds, soundfont programs and samples that training leaves out. Every figure has a 95 % bootstrap
interval; continuations stand beside what trivial ones score: the prompt repeated, noise shaped like the prompt, an
untrained network. Needs ``opusenc`` and ``opusdec`` for the comparison with Opus, ``mido`` for the played drums.
``--quick`` measures on few clips; ``--only`` some sections.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from soundforge.audio import Waveform
from soundforge.requests import SamplingParams
from soundforge_plugins.starter.codec import StarterCodec
from training.evaluation import continuing, described, following, instruments, seamless, sound
from training.evaluation.making import Maker
from training.evaluation.material import RATE, groove_loops, held_out_loops, recordings
from training.evaluation.report import Figure, table

Rows = Mapping[str, Mapping[str, Figure | str]]


def codec_section(maker: Maker, quick: bool) -> str:
    """The codec's tables."""
    assert isinstance(maker.codec, StarterCodec)
    net = maker.codec.net
    loops = [np.concatenate([loop.prompt, loop.truth]) for loop in held_out_loops(10 if quick else 50, 4.0)]
    material = {"held-out loops": loops} | recordings(5.0)
    depths = (4, 6) if quick else (1, 2, 4, 6)
    parts = [table(sound.against_opus(net, material, depths, (12, 16) if quick else (8, 12, 16, 24)), "codec")]
    seconds = sum(map(len, loops)) / RATE
    entries = net.config.codebook_size
    used = sound.entries_used(net, loops)
    parts.append(f"Entries of {entries} used per codebook, on {seconds:.0f} s: {', '.join(map(str, used))}")
    parts.append(table(sound.tone_rows(net), "held tones"))
    parts.append(table({"hits and plucks": sound.attack_row(net)}, "attacks"))
    parts.append(f"Digital silence after noise: {sound.silence_db(net):.0f} dBFS")
    return "\n\n".join(parts)


def continuation_section(maker: Maker, quick: bool, count: int | None = None) -> str:
    """Held-out loops and drums that people played."""
    count = count or (24 if quick else 200)
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        untrained = Maker(continuing.untrained_folder(maker, Path(folder) / "untrained"), maker.sampling)
        for name, loops in (
            ("continuation", held_out_loops(count, 4.0)),
            ("Groove MIDI drums", groove_loops(max(8, count // 5), 4.0)),
        ):
            if not loops:
                continue
            rows, codes = continuing.rows(maker, loops, untrained)
            parts.append(f"{len(loops)} prompts of 4 s in {len({loop.style for loop in loops})} styles.")
            parts.append(table(rows, name))
            parts.append(table({name: continuing.copying(maker, loops, codes)}, "copying"))
    return "\n\n".join(parts)


def long_section(maker: Maker, quick: bool) -> str:
    """Half a minute, and the splice."""
    return table(continuing.long_ones(maker, 4 if quick else 40), "long continuation")


def ablation_section(maker: Maker, quick: bool) -> str:
    """The same weights without one condition or another."""
    return table(continuing.ablation(maker, held_out_loops(12 if quick else 60, 4.0)), "ablation")


def text_section(maker: Maker, quick: bool) -> str:
    """What texts do."""
    count = 16 if quick else 32
    rows: dict[str, dict[str, Figure | str]] = described.rows(maker, count)
    for name, values in described.truth(count).items():
        rows[name] = rows[name] | values
    rows |= instruments.rows(maker, 4 if quick else 8)
    return table(rows, "text, from nothing")


def melody_section(maker: Maker, quick: bool) -> str:
    """Melodies to follow."""
    return table(following.melody_rows(maker, 12 if quick else 40), "melody")


def style_section(maker: Maker, quick: bool) -> str:
    """Sounds to resemble."""
    return table({"style excerpt": following.style_row(maker, 12 if quick else 40)}, "style")


def steering_section(maker: Maker, quick: bool) -> str:
    """Changes on the way."""
    rows = following.steering_rows(maker, 12 if quick else 32)
    rows["a prompt without drums, text: drums or no drums"] = following.prompted_row(maker, 12 if quick else 32)
    return table(rows, "changed on the way")


def loops_section(maker: Maker, quick: bool) -> str:
    """Whole bars."""
    return table(seamless.rows(maker, 4 if quick else 16), "loops")


def speed_section(maker: Maker, quick: bool) -> str:
    """Real-time factor of one continuation at the defaults, codec included."""
    prompt = np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32) * np.float32(0.1)
    took = []
    for _ in range(2):
        began = time.perf_counter()
        maker.engine.extend(Waveform(prompt, RATE), seconds=4 if quick else 8, bpm=120.0, only_new=True)
        took.append((4 if quick else 8) / (time.perf_counter() - began))
    return f"Real-time factor with guidance, {torch.get_num_threads()} threads, codec included: {max(took):.1f}"


SECTIONS: dict[str, Callable[[Maker, bool], str]] = {
    "codec": codec_section,
    "continuation": continuation_section,
    "long": long_section,
    "ablation": ablation_section,
    "text": text_section,
    "melody": melody_section,
    "style": style_section,
    "steering": steering_section,
    "loops": loops_section,
    "speed": speed_section,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=None, help="a folder as training.export writes it")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=list(SECTIONS), nargs="+", default=list(SECTIONS))
    parser.add_argument("--loops", type=int, default=None, help="how many loops are continued (default 200)")
    parser.add_argument("--cfg", type=float, default=None)
    parser.add_argument("--temperature", type=float, default=None)
    parser.add_argument("--top-k", type=int, default=None)
    arguments = parser.parse_args()
    asked = {name: getattr(arguments, name) for name in ("cfg", "temperature", "top_k")}
    changed = {name: value for name, value in asked.items() if value is not None}
    maker = Maker(arguments.weights, SamplingParams(**changed) if changed else None)
    sampling = maker.sampling
    print(f"temperature {sampling.temperature:g}, top-k {sampling.top_k}, cfg {sampling.cfg:g}", flush=True)
    for name in arguments.only:
        began = time.monotonic()
        if name == "continuation":
            text = continuation_section(maker, arguments.quick, arguments.loops)
        else:
            text = SECTIONS[name](maker, arguments.quick)
        print(f"\n{text}\n\n({name}: {time.monotonic() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
