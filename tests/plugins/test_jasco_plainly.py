"""JASCO on checkpoints made here, against a plain reading of what the reference does: loops, no batching of branches.

The golden cases lie outside the repository; this runs anywhere, and on shapes that no golden case has.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from goldens import find_golden
from plugin_hosts import host_with
from torch import Tensor
from torch.nn import functional as F

import soundforge as sf
from soundforge.checkpoints.codecs import load_codec_folder

WIDTH, HEADS, LATENT, FRAMES, BINS, CARD = 24, 2, 16, 50, 53, 194
OUT = {"chords": 5, "self_wav": 3, "melody": 4}
TEXTS = ["a happy rock song", "calm piano"]
ROWS = {"N": 0, "C": 2, "G7": 9, "Am7": 26}


def tensors(layers: int, skips: bool, biases: bool, slots: tuple[str, ...], seed: int) -> dict[str, Tensor]:
    """A state dictionary in AudioCraft's names."""
    generator = torch.Generator().manual_seed(seed)

    def weight(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) / shape[-1] ** 0.5

    found = {"condition_provider.conditioners.description.output_proj.weight": weight(WIDTH, 32),
             "condition_provider.conditioners.description.output_proj.bias": weight(WIDTH)}
    for slot, width in (("self_wav", LATENT), ("melody", BINS)):
        if slot in slots:
            found[f"condition_provider.conditioners.{slot}.output_proj.weight"] = weight(OUT[slot], width)
            found[f"condition_provider.conditioners.{slot}.output_proj.bias"] = weight(OUT[slot])
    if "chords" in slots:
        found["condition_provider.conditioners.chords.emb.weight"] = weight(CARD + 1, OUT["chords"])
    for i in range(layers):
        at = f"transformer.layers.{i}."
        square, triple = (WIDTH, WIDTH), (3 * WIDTH, WIDTH)
        for name, shape in (("self_attn.in_proj_weight", triple), ("self_attn.out_proj.weight", square),
                            ("cross_attention.in_proj_weight", triple), ("cross_attention.out_proj.weight", square),
                            ("linear1.weight", (96, WIDTH)), ("linear2.weight", (WIDTH, 96))):
            found[at + name] = weight(*shape)
            if biases:
                bias = name.replace("in_proj_weight", "in_proj_bias").replace(".weight", ".bias")
                found[at + bias] = weight(shape[0])
        for norm in ("norm1", "norm_cross", "norm2"):
            found |= {f"{at}{norm}.weight": 1 + weight(WIDTH), f"{at}{norm}.bias": weight(WIDTH)}
    for i in range(layers // 2 if skips else 0):
        found |= {f"transformer.skip_projections.{i}.weight": weight(WIDTH, 2 * WIDTH),
                  f"transformer.skip_projections.{i}.bias": weight(WIDTH)}
    found |= {"emb.weight": weight(WIDTH, LATENT + sum(OUT[slot] for slot in slots)),
              "linear.weight": weight(LATENT, WIDTH),
              "out_norm.weight": 1 + weight(WIDTH), "out_norm.bias": weight(WIDTH),
              "temb_proj.weight": weight(WIDTH, 32), "temb_proj.bias": weight(WIDTH),
              "temb.dense.0.weight": weight(32, 8), "temb.dense.0.bias": weight(32),
              "temb.dense.1.weight": weight(32, 32), "temb.dense.1.bias": weight(32)}
    return found | ({"linear.bias": weight(LATENT)} if biases else {})


def write(folder: Path, state: dict[str, Tensor], layers: int, skips: bool, biases: bool,
          slots: tuple[str, ...]) -> None:
    """A checkpoint folder; text encoder and codec are those of the golden case musicgen_style."""
    case = find_golden("musicgen_style")
    if case is None:
        pytest.skip("no golden case musicgen_style to take a text encoder and a codec from")
    described: dict[str, Any] = {
        "self_wav": {"model": "drum_latents", "drum_latents": {"out_dim": OUT["self_wav"], "blurring_factor": 4}},
        "chords": {"model": "chords_emb", "chords_emb": {"card": CARD, "out_dim": OUT["chords"]}},
        "melody": {"model": "melody", "melody": {"card": BINS, "out_dim": OUT["melody"]}}}
    config = {
        "lm_model": "flow_matching", "sample_rate": 32_000, "channels": 1, "dataset": {"segment_duration": 1},
        "fuser": {"cross": ["description"], "ignore": list(slots), "sum": [], "prepend": []},
        "conditioners": {"description": {"model": "t5", "t5": {"name": "t5-base"}},
                         **{slot: described[slot] for slot in slots}},
        "attribute_dropout": {"text": {}, "symbolic": {slot: 0.5 for slot in slots if slot != "self_wav"},
                              "wav": {slot: 0.5 for slot in slots if slot == "self_wav"}},
        "transformer_lm": {"dim": WIDTH, "num_heads": HEADS, "num_layers": layers, "hidden_scale": 4, "causal": False,
                           "norm_first": True, "bias_ff": biases, "bias_attn": biases, "bias_proj": biases,
                           "skip_connections": skips, "flow_dim": LATENT, "time_embedding_dim": 8,
                           **{f"{'drums' if slot == 'self_wav' else slot}_dim": OUT[slot] for slot in slots}},
        "compression_model_latent_std": 0.9, "compression_model_latent_mean": 0.1, "compression_model_framerate": 50,
        "compression_model_latent_dim": LATENT}
    torch.save({"best_state": state, "xp.cfg": yaml.safe_dump(config)}, folder / "state_dict.bin")
    torch.save({"pretrained": "facebook/encodec_32khz"}, folder / "compression_state_dict.bin")
    for part in ("encodec_32khz", "text_encoder"):
        shutil.copytree(case / part, folder / part)
    (folder / "chord_to_index_mapping.json").write_text(json.dumps(ROWS))


def positions() -> Tensor:
    half = WIDTH // 2
    phase = torch.arange(FRAMES)[:, None] / 10_000 ** (torch.arange(half) / (half - 1))
    return torch.cat([phase.cos(), phase.sin()], dim=-1)


def attention(state: dict[str, Tensor], at: str, x: Tensor, source: Tensor) -> Tensor:
    """One item: `[n, D]` attends to `[m, D]`, head by head."""
    bias = state.get(f"{at}.in_proj_bias", torch.zeros(3 * WIDTH)).chunk(3)
    q, k, v = (F.linear(y, w, b) for y, w, b in zip((x, source, source), state[f"{at}.in_proj_weight"].chunk(3), bias,
                                                    strict=True))
    size = WIDTH // HEADS
    heads = [torch.softmax(q[:, s : s + size] @ k[:, s : s + size].T / math.sqrt(size), dim=-1) @ v[:, s : s + size]
             for s in range(0, WIDTH, size)]
    return F.linear(torch.cat(heads, dim=-1), state[f"{at}.out_proj.weight"], state.get(f"{at}.out_proj.bias"))


def field(state: dict[str, Tensor], layers: int, skips: bool, z: Tensor, time: float, beside: Tensor,
          text: Tensor) -> Tensor:
    """The vector field of one item."""
    phase = time * torch.exp(-math.log(10_000) / 3 * torch.arange(4))
    hidden = F.silu(F.linear(torch.cat([phase.sin(), phase.cos()]), state["temb.dense.0.weight"],
                             state["temb.dense.0.bias"]))
    embedded = F.linear(F.linear(hidden, state["temb.dense.1.weight"], state["temb.dense.1.bias"]),
                        state["temb_proj.weight"], state["temb_proj.bias"])
    x = F.linear(torch.cat([z, beside], dim=-1), state["emb.weight"]) + positions()
    kept: list[Tensor] = []
    for i in range(layers):
        at = f"transformer.layers.{i}."

        def norm(name: str, x: Tensor, at: str = at) -> Tensor:
            return F.layer_norm(x, (WIDTH,), state[f"{at}{name}.weight"], state[f"{at}{name}.bias"])

        if skips and i >= layers // 2:
            p = f"transformer.skip_projections.{i % (layers // 2)}."
            x = F.linear(torch.cat([x, kept.pop()], dim=-1), state[p + "weight"], state[p + "bias"])
        y = norm("norm1", x)
        x = x + attention(state, at + "self_attn", y, y)
        x = x + attention(state, at + "cross_attention", norm("norm_cross", x), text + embedded)
        wide = F.gelu(F.linear(norm("norm2", x), state[at + "linear1.weight"], state.get(at + "linear1.bias")))
        x = x + F.linear(wide, state[at + "linear2.weight"], state.get(at + "linear2.bias"))
        if skips and i < layers // 2:
            kept.append(x)
    x = F.layer_norm(x, (WIDTH,), state["out_norm.weight"], state["out_norm.bias"])
    return F.linear(x, state["linear.weight"], state.get("linear.bias"))


def plain_beside(state: dict[str, Tensor], folder: Path, slots: tuple[str, ...], given: dict[str, Any], on: set[str],
                 any_drums: bool) -> Tensor:
    """What stands beside the latents of one item in one branch, `[FRAMES, ...]`."""
    columns = []
    if "chords" in slots:
        rows = torch.full((FRAMES,), CARD)
        if "chords" in on:
            for frame in range(FRAMES):
                rows[frame] = ([0] + [ROWS[symbol] for symbol, start in given["chords"] if start <= frame / 50])[-1]
        columns.append(state["condition_provider.conditioners.chords.emb.weight"][rows])
    if "self_wav" in slots:
        latents = torch.zeros(FRAMES, LATENT)
        if any_drums:  # what is dropped beside drums is silence through the codec
            codec = load_codec_folder(folder / "encodec_32khz")
            wave = torch.zeros(1, 1, 32_000)
            if "drums" in on:
                wave[0, 0, : given["drums"].n_samples] = torch.as_tensor(given["drums"].samples[0])
            known = codec.decode_latent(codec.encode(wave, 1).codes)[0].T
            padded = torch.cat([known, known[-3:-1].flip(0)])  # 50 frames in blocks of 4: two more, mirrored
            latents = torch.cat([padded[i : i + 4].mean(dim=0).expand(4, -1) for i in range(0, 52, 4)])[:FRAMES]
        columns.append(projected(state, "self_wav", latents))
    if "melody" in slots:
        matrix = torch.as_tensor(given["melody"]).float() if "melody" in on else torch.zeros(BINS, FRAMES)
        columns.append(projected(state, "melody", matrix.T))
    return torch.cat(columns, dim=-1)


def projected(state: dict[str, Tensor], slot: str, values: Tensor) -> Tensor:
    at = f"condition_provider.conditioners.{slot}.output_proj."
    return F.linear(values, state[at + "weight"], state[at + "bias"])


def plain_texts(state: dict[str, Tensor], folder: Path, texts: list[str]) -> Tensor:
    """Projected descriptions of one batch, zero where padded and for no text."""
    from transformers import AutoTokenizer, T5EncoderModel

    tokens = AutoTokenizer.from_pretrained(folder / "text_encoder")(texts, return_tensors="pt", padding=True)
    mask = tokens["attention_mask"] * torch.tensor([[text != ""] for text in texts])
    with torch.no_grad():
        hidden = T5EncoderModel.from_pretrained(folder / "text_encoder").eval()(tokens["input_ids"], mask)[0]
    return projected(state, "description", hidden) * mask[..., None]


@pytest.mark.parametrize(("slots", "names", "layers", "skips", "biases", "cfg", "cfg_text"), [
    (("chords", "self_wav", "melody"), ("chords", "drums", "melody"), 4, True, False, 5.0, 1.5),
    (("chords", "self_wav", "melody"), ("drums", "melody"), 2, True, True, 1.75, 3.5),
    (("chords", "self_wav"), ("drums",), 2, False, True, 3.0, 0.0),
    (("chords",), ("chords",), 3, False, False, 2.0, -1.0), (("chords", "melody"), (), 2, True, False, 4.0, 1.0),
    (("self_wav",), ("drums",), 2, False, False, 1.0, 0.0)])
def test_latents_are_the_plain_procedure_s(slots: tuple[str, ...], names: tuple[str, ...], layers: int, skips: bool,
                                           biases: bool, cfg: float, cfg_text: float, tmp_path: Path) -> None:
    state = tensors(layers, skips, biases, slots, seed=layers)
    write(tmp_path, state, layers, skips, biases, slots)
    rng = np.random.default_rng(1)
    given: dict[str, Any] = {
        "chords": (("C", 0.1), ("G7", 0.33), ("Am7", 0.8)),
        "drums": sf.Waveform(0.3 * rng.standard_normal((1, 21_000)), 32_000),
        "melody": np.eye(BINS)[rng.integers(0, BINS, FRAMES)].T * (rng.random(FRAMES) < 0.7)}
    noise = torch.randn(2, FRAMES, LATENT, generator=torch.Generator().manual_seed(3))
    steps = 5
    with sf.load(tmp_path, device="cpu", host=host_with("text", "encodec", "chords", "jasco")) as engine:
        model: Any = engine.model
        made: list[Tensor] = []
        solve = model.solve
        model.solve = lambda *a, **k: made.append(solve(*a, **k)) or made[-1]
        engine.generate(TEXTS, conditions={name: given[name] for name in names}, noise=noise, cfg=cfg,
                        options={"solver": "euler", "steps": steps, "cfg_text": cfg_text})
    # A branch without weight is left out of the batch; without chords, the melody is dropped in none.
    lasting = {"melody"} & set(names) if "chords" not in names else set()
    terms = ((cfg, set(names), True), (cfg_text, lasting, True), (1 - cfg - cfg_text, lasting, False))
    branches = [term for term in terms if abs(term[0]) >= 1e-6]
    texts = plain_texts(state, tmp_path, [text if wanted else "" for _, _, wanted in branches for text in TEXTS])
    any_drums = any("drums" in on for _, on, _ in branches)
    sides = [plain_beside(state, tmp_path, slots, given, on, any_drums) for _, on, _ in branches]
    for item in range(2):
        z = noise[item]
        for step in range(steps):
            velocity = sum(weight * field(state, layers, skips, z, step / steps, sides[i], texts[2 * i + item])
                           for i, (weight, _, _) in enumerate(branches))
            z = z + velocity / steps
        assert (made[0][item] - z).abs().max() < 2e-4 * z.abs().max()
