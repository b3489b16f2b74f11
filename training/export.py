"""Stage 5: ``python -m training.export`` writes the package's weights from the two checkpoints.

``codec.safetensors`` and ``lm.safetensors`` in half precision; ``config.json`` says how to build and use them.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from soundforge.nn.starter_codec import StarterCodecNet
from soundforge.nn.starter_conditions import CHROMA_WIDTH, LEVEL_WIDTH, TRANSPORT_WIDTH
from soundforge.nn.starter_recall import StyleMemory
from training.codec import load_codec
from training.codec_tune import CHECKPOINT as CODEC_CHECKPOINT
from training.lm import CHECKPOINT as LM_CHECKPOINT
from training.lm import load_lm
from training.lm_model import StarterLm
from training.recall import CHECKPOINT as RECALL_CHECKPOINT
from training.recall import load_recall

WEIGHTS = Path(__file__).parent.parent / "plugins" / "soundforge_plugins" / "starter" / "weights"
VERSION = "0.4.0"
WINDOW_FRAMES = 450
GUIDANCE = {"text": 3.0, "chroma": 2.0}
"""Weights of guidance where a request states none. The transport, whose beat is guided with everything else, would
drown them: see the model card for what they are worth."""


REST_FRAMES = {"first_frames": 10, "frames": 40}
"""0.2 s before the first sound of a piece from nothing, 0.8 s between two: the model's own rests are shorter, and of 44
clips of texts without drums 4 fell silent for good."""
SILENT_DB = -45.0


@torch.inference_mode()
def silent_codes(codec: StarterCodecNet, frames: int = 40) -> list[int]:
    """Entries of the first codebook that are below -45 dB once they have lasted (RMS, full scale)."""
    out: list[int] = []
    for entries in torch.split(torch.arange(codec.config.codebook_size), 128):
        sound = codec.decode(entries[:, None, None].expand(-1, 1, frames))[0]
        power = sound[:, -codec.config.hop_length * 15 :].square().mean(1)
        out += entries[power < 10 ** (SILENT_DB / 10)].tolist()
    return out


def _half(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().to(torch.float16).contiguous() for name, value in tensors.items()}


def lm_tensors(model: StarterLm, memory: StyleMemory | None) -> dict[str, Tensor]:
    """Shipped names: ``lm.*``, ``slots.<name>.weight`` (the projection), ``conditioners.text.*``."""
    tensors = {f"lm.{name}": value for name, value in model.lm.state_dict().items()}
    tensors |= {f"conditioners.text.{name}": value for name, value in model.text.state_dict().items()}
    tensors |= {f"slots.{name}.weight": layer.weight for name, layer in model.project.items()}
    if memory is not None:
        tensors |= {f"conditioners.text.memory.{name}": value for name, value in memory.state_dict().items()}
    # A tempo that only the text asks for comes with the text's features, laid out as the transport's (a key as chroma
    # and what a text sounds like as style: these projections are put beside it when the model is loaded).
    tensors["slots.text.weight"] = torch.cat([tensors["slots.text.weight"], tensors["slots.transport.weight"]], dim=1)
    return tensors


def _slot(name: str, conditioner: str, width: int, per_frame: bool = False, **options: Any) -> dict[str, Any]:
    rate = 50.0 if per_frame else None
    if name in GUIDANCE:
        options["weight"] = GUIDANCE[name]
    return {
        "name": name, "conditioner": conditioner, "width": width, "fuse": "sum", "frame_rate_hz": rate,
        "options": options,
    }  # fmt: skip


def configuration(
    codec: StarterCodecNet, model: StarterLm, memory: StyleMemory | None, defaults: dict[str, Any]
) -> dict[str, Any]:
    """Everything needed to build the model, and where it came from."""
    sizes = model.sizes
    beside = {"chroma": CHROMA_WIDTH} | ({} if memory is None else {"style": 2 * sizes.latent_width})
    text_width = sizes.text_width + TRANSPORT_WIDTH + sum(beside.values())
    return {
        "model_type": "soundforge-starter",
        "version": VERSION,
        "licence": "MIT",
        "sample_rate": codec.config.sample_rate,
        "frame_rate_hz": codec.config.sample_rate / codec.config.hop_length,
        "codec": asdict(codec.config),
        "lm": sizes.lm_config().to_dict(),
        "delays": list(range(sizes.n_codebooks)),
        "window_seconds": WINDOW_FRAMES / 50.0,
        "stride_seconds": WINDOW_FRAMES / 100.0,
        "slots": [
            _slot("text", "starter_text", text_width, per_frame=True, **{"with": list(beside)}),
            _slot("transport", "transport", TRANSPORT_WIDTH, per_frame=True),
            _slot("chroma", "starter_chroma", CHROMA_WIDTH, per_frame=True),
            _slot("style", "starter_style", 2 * sizes.latent_width),
            _slot("level", "starter_level", LEVEL_WIDTH, guided=False),
        ],
        "rests": {"codes": silent_codes(codec), **REST_FRAMES},
        "defaults": defaults,
        "provenance": "Trained from scratch on music composed and synthesised by the project's own code, General MIDI "
        "soundfonts under the MIT licence, and CC0 one-shot samples. See docs/model-card.md.",
    }


def export(
    codec: StarterCodecNet,
    model: StarterLm,
    memory: StyleMemory | None,
    folder: Path = WEIGHTS,
    defaults: dict[str, Any] | None = None,
) -> None:
    """Writes the three files; without a memory a text is its words alone."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_half(codec.state_dict()), folder / "codec.safetensors")
    save_file(_half(lm_tensors(model, memory)), folder / "lm.safetensors")
    values = configuration(codec, model, memory, defaults or DEFAULTS)
    (folder / "config.json").write_text(json.dumps(values, indent=2) + "\n")


DEFAULTS: dict[str, Any] = {"seconds": 8}
"""The library's own sampling (temperature 1, top-k 250, cfg 3) measured as well as any other; see the model card."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codec", type=Path, default=CODEC_CHECKPOINT)
    parser.add_argument("--lm", type=Path, default=LM_CHECKPOINT)
    parser.add_argument("--recall", type=Path, default=RECALL_CHECKPOINT)
    parser.add_argument("--folder", type=Path, default=WEIGHTS)
    arguments = parser.parse_args()
    export(load_codec(arguments.codec), load_lm(arguments.lm), load_recall(arguments.recall), arguments.folder)
    total = sum(path.stat().st_size for path in arguments.folder.iterdir())
    print(f"{arguments.folder}: {total / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
