"""Continuation: tempo, grid, pitch, timbre, loudness, drift, the splice, copying; against three baselines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from soundforge.audio import Waveform
from soundforge.nn.language_model import LanguageModel
from training import metrics
from training.captions import describe
from training.evaluation import measures
from training.evaluation.making import ROWS, Job, Maker
from training.evaluation.material import RATE, Loop, Wave, held_out_loops, repeated, shaped_noise
from training.evaluation.report import Figure, mean, pair_auc
from training.export import WEIGHTS


def jobs_for(loops: Sequence[Loop], stated: bool) -> list[Job]:
    """Tempo and bar as a DAW states them, or nothing but sound."""
    return [
        Job(prompt=loop.prompt, seed=index, beats_per_bar=loop.beats_per_bar, bpm=loop.bpm if stated else None,
            start_beat=loop.start_beat)
        for index, loop in enumerate(loops)
    ]  # fmt: skip


def score(loops: Sequence[Loop], made: Sequence[Wave]) -> dict[str, Figure]:
    """Figures of one way to continue ``loops``."""
    pairs = list(zip(loops, made, strict=True))
    tempo = [float(measures.tempo_error(w, p.bpm) <= 0.02) for p, w in pairs]
    grid = [measures.on_grid(p.prompt, w, p.bpm, p.start_beat) for p, w in pairs]
    level = [float(abs(metrics.level_db(w) - metrics.level_db(p.prompt)) < 3.0) for p, w in pairs]
    out = {"tempo within 2 %": mean(tempo), "onsets on the grid": mean(grid)}
    pitched = [(p, w) for p, w in pairs if p.pitched]
    if len(pitched) > 2:
        a = np.stack([metrics.mean_chroma(p.prompt) for p, _ in pitched])
        out["chroma AUC"] = pair_auc(a @ np.stack([metrics.mean_chroma(w) for _, w in pitched]).T)
    a = np.stack([metrics.mean_mfcc(p.prompt) for p, _ in pairs])
    b = np.stack([metrics.mean_mfcc(w) for _, w in pairs])
    out["timbre AUC"] = pair_auc(-np.linalg.norm((a[:, None] - b[None]) / a.std(axis=0), axis=-1))
    return out | {"level within 3 dB": mean(level)}


def copying(maker: Maker, loops: Sequence[Loop], codes: Tensor) -> dict[str, Figure]:
    """Longest exact repeat in the continuation, where the prompt itself repeats less than a bar."""
    prompts = maker.codes([loop.prompt for loop in loops])
    ratios = []
    for loop, before, after in zip(loops, prompts, codes, strict=True):
        bar = loop.beats_per_bar * 60.0 / loop.bpm * 50
        if measures.longest_repeat(before, 0) > bar:
            continue
        ratios.append(measures.longest_repeat(torch.cat([before, after], dim=1), before.shape[1]) / bar)
    array = np.array(ratios)
    return {
        "longest repeat in bars": mean(array),
        "at most a bar": mean((array <= 1.0).astype(np.float64)),
    }


def rows(maker: Maker, loops: Sequence[Loop], untrained: Maker | None) -> tuple[dict[str, dict[str, Figure]], Tensor]:
    """The model with tempo stated and heard, the baselines, and what really follows; and the model's codes."""
    seconds = len(loops[0].prompt) / RATE
    rng = np.random.default_rng(0)
    n = len(loops[0].prompt)
    stated, codes = maker.make(jobs_for(loops, True), seconds)
    made = {"starter, tempo stated": stated, "starter, tempo heard": maker.make(jobs_for(loops, False), seconds)[0]}
    made["prompt repeated"] = [repeated(loop.prompt, n) for loop in loops]
    made["noise shaped like the prompt"] = [shaped_noise(loop.prompt, n, rng) for loop in loops]
    made["what really follows"] = [loop.truth for loop in loops]
    rows = {name: score(loops, waves) for name, waves in made.items()}
    if untrained is not None:  # noise is noise: a part of the loops will do
        some = loops[:ROWS]
        rows["untrained network"] = score(some, untrained.make(jobs_for(some, True), seconds)[0])
    return rows, codes


def ablation(maker: Maker, loops: Sequence[Loop]) -> dict[str, dict[str, Figure]]:
    """What each part is worth, on the same weights: one is taken away in turn; and a text that fits is added."""
    seconds = len(loops[0].prompt) / RATE
    jobs = jobs_for(loops, True)
    blind = [replace(job, conditions={"transport": "off"}, bpm=None) for job in jobs]
    levelless = [replace(job, conditions={"level": "off"}) for job in jobs]
    styleless = [replace(job, conditions={"style": "off"}) for job in jobs]
    rng = np.random.default_rng(0)
    texts = [describe(loop.piece, rng, None, None)[0] for loop in loops if loop.piece is not None]
    described = [replace(job, conditions={"text": text}) for job, text in zip(jobs, texts, strict=True)]
    made = {
        "tempo stated": jobs, "without transport": blind, "without level": levelless,
        "without the prompt's style": styleless, "with a text that fits": described,
        "with that, without the prompt's style": [
            replace(job, conditions={**job.conditions, "style": "off"}) for job in described
        ],
    }  # fmt: skip
    rows = {name: score(loops, maker.make(part, seconds)[0]) for name, part in made.items()}
    maker.matched = False
    rows["without matching at the splice"] = score(loops, maker.make(jobs, seconds)[0])
    maker.matched = True
    given, maker.sampling = maker.sampling, replace(maker.sampling, cfg=1.0)
    rows["tempo stated, without guidance"] = score(loops, maker.make(jobs, seconds)[0])
    maker.sampling = given
    return rows


def long_ones(maker: Maker, count: int, seconds: float = 30.0) -> dict[str, dict[str, Figure]]:
    """Continuations of ``seconds``, window by window, through the public API; and the splice as users hear it."""
    loops = held_out_loops(count, 4.0, first=5000)
    waves, jumps, fluxes = [], [], []
    for index, loop in enumerate(loops):
        prompt = Waveform(loop.prompt, RATE)
        clip = maker.engine.extend(
            prompt, seconds=seconds, bpm=loop.bpm, beats_per_bar=loop.beats_per_bar, seed=index, splice=True
        )
        wave = clip.waveform[0]
        jump, flux = measures.click_at(wave[: len(loop.prompt) + 4 * RATE], len(loop.prompt))
        jumps.append(float(jump <= 0.95))
        fluxes.append(float(flux <= 0.95))
        waves.append(wave[len(loop.prompt) :])
    ends = [wave[-8 * RATE :] for wave in waves]
    tempo = [float(measures.tempo_error(w, p.bpm) <= 0.02) for p, w in zip(loops, ends, strict=True)]
    drift = [abs(measures.drift_db(wave)) for wave in waves]
    return {
        f"starter, {seconds:g} s": {
            "tempo of the last 8 s within 2 %": mean(tempo),
            "drift below 3 dB": mean([float(d < 3.0) for d in drift]),
            "mean drift, dB": mean(drift),
            "splice: jump within 95th percentile": mean(jumps),
            "splice: flux within 95th percentile": mean(fluxes),
        }
    }


def untrained_folder(maker: Maker, folder: Path) -> Path:
    """The same codec and sizes with a freshly drawn language model."""
    source = maker.runtime.parts.folder or WEIGHTS
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "codec.safetensors"):
        shutil.copy(source / name, folder / name)
    config = json.loads((folder / "config.json").read_text())
    torch.manual_seed(0)
    fresh = LanguageModel(maker.runtime.decoder.lm.config)
    fresh.heads.get_parameter("weight").data.mul_(0.1)
    tensors = {f"lm.{name}": value.contiguous() for name, value in fresh.state_dict().items()}
    width = {slot["name"]: int(slot["width"]) for slot in config["slots"]}
    for slot in config["slots"]:
        own = width[slot["name"]] - sum(width[other] for other in slot["options"].get("with", ()))
        tensors[f"slots.{slot['name']}.weight"] = torch.randn(fresh.config.d_model, own) * 0.05
    save_file(tensors, folder / "lm.safetensors")
    return folder

