"""``python -m training.nano FOLDER``: every stage at toy size within a minute, to see that the road is open."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from soundforge.nn.starter_codec import StarterCodecConfig
from training.cache import open_shards, render_shard
from training.codec import CodecTrainer, load_codec
from training.codec_tune import SoundTrainer
from training.export import export
from training.lm import LmTrainer, load_lm
from training.lm_data import LmData
from training.lm_model import StarterLmSizes
from training.recall import RecallTrainer, captions_of, harmony_of, styles_of
from training.tokenise import tokenise_shard

CODEC = StarterCodecConfig(
    n_codebooks=4, codebook_size=64, latent_width=16, fast_width=32, slow_width=48, encoder_blocks=1,
    decoder_slow_blocks=1, decoder_fast_blocks=1,
)  # fmt: skip
LM = StarterLmSizes(
    d_model=32, n_heads=2, n_layers=2, ffn_width=64, n_codebooks=4, card=64, text_width=16, latent_width=16
)


def run(folder: Path, codec_steps: int = 40, lm_steps: int = 30, pieces: int = 4) -> dict[str, list[float]]:
    """Renders, trains the codec, its decoder on, the language model and the memory, exports; returns losses."""
    render_shard(0, folder / "audio", pieces, seconds=8)
    trainer = CodecTrainer(
        open_shards(folder / "audio"), minutes=1.0, config=CODEC, batch=4,
        crop_samples=16_000, warm_steps=10, levels_share=0.0,
        checkpoint=folder / "codec.pt",
    )  # fmt: skip
    codec_losses = [trainer.train_step()[0]["levels"] for _ in range(codec_steps)]
    trainer.save()
    sound = SoundTrainer(
        list(open_shards(folder / "audio")), minutes=1.0, codes=folder / "codec.pt", batch=4, crop_samples=16_000,
        checkpoint=folder / "codec-tuned.pt",
    )  # fmt: skip
    sound_losses = [sum(sound.train_step().values()) for _ in range(codec_steps)]
    sound.save()
    net = load_codec(folder / "codec-tuned.pt")
    tokenise_shard(net, 0, folder / "tokens", folder / "audio")
    data = LmData(folder / "tokens", net.quantiser, frames=100, n_codebooks=LM.n_codebooks, seed=0)
    lm = LmTrainer(data, minutes=1.0, sizes=LM, batch=4, checkpoint=folder / "lm.pt")
    lm_losses = [lm.train_step()[0] for _ in range(lm_steps)]
    lm.save()
    model = load_lm(folder / "lm.pt")
    recall = RecallTrainer(captions_of(data, model.text), styles_of(data), steps=lm_steps, width=8)
    recall_losses = recall.train(batch=len(data.pieces))
    export(net, model, recall.memory(len(data.pieces), harmony_of(data)), folder / "weights")
    return {"codec": codec_losses, "sound": sound_losses, "lm": lm_losses, "recall": recall_losses}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    began = time.monotonic()
    losses = run(parser.parse_args().folder)
    for name, values in losses.items():
        print(f"{name}: {np.mean(values[:5]):.3f} -> {np.mean(values[-5:]):.3f}")
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
