"""The conformance checks of what comes after the codes: decoders and clip processors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from soundforge.audio import Waveform
from soundforge.errors import CancelledError, InputError
from soundforge.interfaces import Codec, Decoder
from soundforge.requests import CancelToken
from soundforge.testing.asserting import must_refuse, noise, refused_in_one_line, require, require_close

if TYPE_CHECKING:
    from torch import Tensor


def check_decoder(decoder: Decoder, codec: Codec, *, frames: int = 8, codes: Tensor | None = None,
                  options: Mapping[str, Any] | None = None, tolerance: float = 1e-4) -> None:
    """Check a decoder against its contract: shapes, seeds, batching, progress, cancelling.

    Args:
        decoder: as its factory made it for `codec`.
        codec: whose codes it takes.
        frames: how many are decoded.
        codes: int64 `[1, K, T]` instead of random ones of all codebooks.
        options: `decoder_options` that make it quick.
        tolerance: between an item alone and in a batch, relative to the peak (at least 1).

    Raises:
        AssertionError: with one line that says what is wrong.
    """
    import torch

    require(isinstance(decoder, Decoder), f"{type(decoder).__name__} has no decode")
    if codes is None:
        drawn = np.random.default_rng(0).integers(0, codec.codebook_size, (1, codec.n_codebooks, frames))
        codes = torch.from_numpy(drawn)
    given = codes

    def run(batch: Tensor, seed: int | Sequence[int], cancel: CancelToken | None = None) -> Tensor:
        return decoder.decode(batch, seed=seed, cancel=cancel or CancelToken(), progress=told, options=options)

    steps: list[tuple[int, int]] = []

    def told(done: int, total: int) -> None:
        steps.append((done, total))

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        first = run(given, 1)
        expected = (1, codec.channels, given.shape[-1] * codec.hop_length)
        require(first.dtype == torch.float32 and first.shape == expected,
                f"decode gave {first.dtype} {list(first.shape)}, expected torch.float32 {list(expected)}")
        require(bool(torch.isfinite(first).all()), "decode gave NaN or infinite samples")
        require(bool(steps) and steps == sorted(steps) and steps[-1][0] == steps[-1][1],
                f"progress was told {steps[-3:]}, expected rising numbers that end with (total, total)")
        torch.manual_seed(20_000_003)
        require_close(run(given, 1), first, "the same codes and seed twice", 0.0)
        pair = run(given.repeat(2, 1, 1), [1, 2])
        require_close(pair[:1], first, "an item alone and in a batch with a seed of its own", tolerance)
        stopped = CancelToken()
        stopped.cancel()
        must_refuse(lambda: run(given, 1, stopped), "decode with a token that is cancelled", CancelledError)


def check_clip_processor(process: Callable[[Waveform], Waveform], *, waves: Sequence[Waveform] = (),
                         keeps_rate: bool = True) -> None:
    """Check a clip processor: a Waveform from a Waveform, always the same, its input left alone, odd input survived.

    Args:
        process: as its factory made it.
        waves: sounds it is meant for, beside the built-in ones (mono, stereo, silence).
        keeps_rate: False for a processor that resamples.

    Raises:
        AssertionError: with one line that says what is wrong.
    """
    silence = Waveform(np.zeros((2, 40_000), np.float32), 16_000)
    for wave in (noise(2.5, 32_000), noise(2.5, 44_100, 2, seed=1), silence, *waves):
        before = wave.samples.copy()
        out = process(wave)
        _check_wave(out, wave, keeps_rate)
        require(np.array_equal(before, wave.samples), f"{wave!r} was written to; a processor gives a new Waveform")
        again = process(wave)
        require(np.array_equal(out.samples, again.samples), f"{wave!r} processed twice gives two results")
    loud = Waveform(noise(0.5, 32_000).samples * 50, 32_000)
    for wave in (loud, *(Waveform(np.full((1, n), 0.5, np.float32), 32_000) for n in (0, 1, 2, 31))):
        taken: list[Waveform] = []
        if not refused_in_one_line(lambda wave=wave, taken=taken: taken.append(process(wave)),  # type: ignore[misc]
                                   f"processing {wave!r}", InputError):
            _check_wave(taken[0], wave, keeps_rate)


def _check_wave(out: Any, wave: Waveform, keeps_rate: bool) -> None:
    require(isinstance(out, Waveform), f"processing {wave!r} gave {type(out).__name__}, expected a Waveform")
    require(out.channels == wave.channels, f"processing {wave!r} gave {out.channels} channels, expected as many")
    require(not keeps_rate or out.sample_rate == wave.sample_rate,
            f"processing {wave!r} gave {out.sample_rate} Hz, expected {wave.sample_rate}")
