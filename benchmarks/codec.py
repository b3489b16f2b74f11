"""Codecs at their published sizes, random weights: decoding at once beside transformers, and in pieces beside at once.

    python benchmarks/codec.py [--codec encodec_32khz dac_44khz] [--seconds 8] [--threads 2]

Every ratio is made from runs in turns. `stream_N` decodes N frames at a time, `live` as a live job does: 3, 6, 12, then
16. `bfloat16_error` is the root mean square of its error over that of the sound. A real-time factor is seconds of sound
per second of computing. The last line is JSON.
"""

from __future__ import annotations

from typing import Any

import torch
from common import alternately, arguments, parse, print_result

from soundforge.checkpoints.codecs import codec_from_transformers
from soundforge.engine.stream import FIRST_FRAMES, MOST_FRAMES
from soundforge.nn.streaming_codec import NeuralCodec

PIECES = (3, 6, 16)


def reference(name: str) -> torch.nn.Module:
    """transformers' model of the published shape with random weights."""
    import transformers

    if name == "dac_44khz":
        config = transformers.DacConfig(sampling_rate=44_100)
        return transformers.DacModel(config).eval()
    config = transformers.EncodecConfig(
        target_bandwidths=[2.2], sampling_rate=32_000, upsampling_ratios=[8, 5, 4, 4], num_filters=64,
        use_causal_conv=False, codebook_size=2048, codebook_dim=128, hidden_size=128, use_conv_shortcut=False,
        chunk_length_s=None, overlap=None, normalize=False)
    return transformers.EncodecModel(config).eval()


@torch.inference_mode()
def measure(name: str, seconds: float, rounds: int) -> dict[str, Any]:
    """All figures of one codec."""
    theirs = reference(name)
    ours = codec_from_transformers(theirs.config.to_dict(), dict(theirs.state_dict()), name)
    frames = round(seconds * ours.frame_rate_hz)
    codes = torch.randint(ours.codebook_size, (1, ours.total_codebooks, frames))
    wave = torch.randn(1, 1, frames * ours.hop_length) * 0.1
    length = frames / ours.frame_rate_hz

    def their_decode() -> torch.Tensor:
        if name.startswith("dac"):
            return theirs.decode(audio_codes=codes).audio_values
        return theirs.decode(codes[None], [None]).audio_values

    narrow = ours.decoding_in_bfloat16()
    exact, rough = ours.decode(codes), narrow.decode(codes)
    error = float((their_decode().flatten() - exact.flatten()).abs().max())
    times = alternately({"transformers": their_decode, "at_once": lambda: ours.decode(codes),
                         **{f"stream_{n}": lambda n=n: stream(ours, codes, n) for n in PIECES},
                         "live": lambda: stream(ours, codes, 0), "bfloat16": lambda: narrow.decode(codes),
                         "bfloat16_live": lambda: stream(narrow, codes, 0),
                         "encode": lambda: ours.encode(wave)}, rounds)
    return {"seconds": length, "peak_error": error, "bfloat16_error": float((rough - exact).norm() / exact.norm()),
            "times_transformers": times.ratio("transformers", "at_once"),
            "bfloat16_times_transformers": times.ratio("transformers", "bfloat16"),
            "live_over_at_once": times.ratio("live", "at_once"),
            "bfloat16_live_over_at_once": times.ratio("bfloat16_live", "bfloat16"),
            "stream_over_at_once": {n: times.ratio(f"stream_{n}", "at_once") for n in PIECES},
            "real_time_factor": {what: length / times.median(what) for what in times.seconds}}


def stream(codec: NeuralCodec, codes: torch.Tensor, piece: int) -> None:
    """Decode in pieces of so many frames; 0 = as a live job does, 3, 6, 12, then 16 at a time."""
    run, start, size = codec.stream(1), 0, piece or FIRST_FRAMES
    while start < codes.shape[-1]:
        run.decode(codes[..., start:start + size])
        start, size = start + size, piece or min(2 * size, MOST_FRAMES)
    run.finish_decode()


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--codec", nargs="+", default=["encodec_32khz", "dac_44khz"])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parse(parser)
    print_result("codec", {name: measure(name, options.seconds, options.rounds) for name in options.codec})


if __name__ == "__main__":
    main()
