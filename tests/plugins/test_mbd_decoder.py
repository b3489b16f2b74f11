"""The MultiBandDiffusion decoder: the golden case, seeds, windows, steps, cancel, and one-line errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from soundforge.checkpoints.codecs import load_codec_folder
from soundforge.checkpoints.files import read_torch_file
from soundforge.errors import AudioError, CancelledError, CheckpointError, RequestError
from soundforge.interfaces import Codec, Decoder, DecoderSetup
from soundforge.requests import CancelToken
from soundforge_plugins.multiband_diffusion.decoder import MultiBandDecoder, make_decoder

pytestmark = pytest.mark.parametrize("golden", ["multiband_diffusion"], indirect=True)


def _no_host(name: str) -> Path:
    raise AssertionError(f"{name} was looked for on the hub")


class _Host:
    resolve = staticmethod(_no_host)


@pytest.fixture
def codec(golden: Path) -> Codec:
    return load_codec_folder(golden)


@pytest.fixture
def decoder(golden: Path, codec: Codec) -> MultiBandDecoder:
    return make_decoder(_Host(), DecoderSetup(codec, folder=golden))  # type: ignore[arg-type]


def run(decoder: Decoder, codes: torch.Tensor, seed: int | list[int] = 1, **kwargs: Any) -> torch.Tensor:
    return decoder.decode(codes, seed=seed, cancel=CancelToken(), **kwargs)


@pytest.fixture
def codes(golden: Path) -> torch.Tensor:
    return load_file(golden / "case.safetensors")["in.codes"].long()


def test_the_reference_s_waveform(golden: Path, decoder: MultiBandDecoder, codes: torch.Tensor) -> None:
    case = json.loads((golden / "case.json").read_text())["tensors"]
    tensors = load_file(golden / "case.safetensors")
    for options, name in (({}, "out.wav_eq"), ({"equalise": "off"}, "out.wav_diffusion")):
        wave = run(decoder, codes, noise=tensors["in.noise"], options=options)
        assert (wave - tensors[name]).abs().max() <= case[name]["recommended_max_abs_error"]
    latents = run(decoder, tensors["out.emb"], noise=tensors["in.noise"].numpy())
    assert (latents - tensors["out.wav_eq"]).abs().max() <= 10 * case["out.wav_eq"]["recommended_max_abs_error"]


def test_the_seed_makes_the_clip_again(decoder: MultiBandDecoder, codes: torch.Tensor) -> None:
    first = run(decoder, codes, 7)
    assert torch.equal(first, run(decoder, codes, 7))
    assert not torch.allclose(first, run(decoder, codes, 8), atol=1e-3)
    assert first.shape == (1, 1, 5 * 640)


def test_items_of_a_batch_are_as_alone(decoder: MultiBandDecoder, codes: torch.Tensor) -> None:
    pair = torch.cat([codes, codes.flip(-1)])
    together = run(decoder, pair, [3, 4], options={"equalise": "each"})
    for row, seed in ((0, 3), (1, 4)):
        alone = run(decoder, pair[row:row + 1], seed, options={"equalise": "each"})
        torch.testing.assert_close(together[row:row + 1], alone, atol=2e-3, rtol=1e-3)
    with pytest.raises(RequestError, match="3 seeds came for 2 clips"):
        run(decoder, pair, [1, 2, 3])


@pytest.mark.slow
def test_a_long_clip_in_windows_is_close_to_the_whole_and_has_no_seam(decoder: MultiBandDecoder) -> None:
    codes = torch.randint(0, 64, (1, 4, 200), generator=torch.Generator().manual_seed(2))
    whole = run(decoder, codes, options={"steps": 3})
    pieces = run(decoder, codes, options={"steps": 3, "window_seconds": 3.0})
    assert pieces.shape == whole.shape
    # The last window begins at frame 50, the first one ends at 150: the cross-fade lies between.
    step = (pieces[0, 0, 1:] - pieces[0, 0, :-1]).abs()
    for seam in (50 * 640, 150 * 640):
        assert step[seam - 2:seam + 2].max() < 3 * step.quantile(0.999)
    levels = pieces[0, 0].view(-1, 6400).std(dim=1) / whole[0, 0].view(-1, 6400).std(dim=1)
    assert levels.min() > 0.7 and levels.max() < 1.4


def test_the_equaliser_s_reference_in_pieces_is_the_whole(decoder: MultiBandDecoder, codec: Codec) -> None:
    codes = torch.randint(0, 64, (2, 4, 61), generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(decoder._decoded(codes, 20), codec.decode(codes), atol=1e-5, rtol=1e-4)


def test_fewer_steps_cost_fewer_evaluations(decoder: MultiBandDecoder, codes: torch.Tensor) -> None:
    seen: list[tuple[int, int]] = []
    run(decoder, codes, options={"steps": 5}, progress=lambda done, total: seen.append((done, total)))
    assert len(seen) == 2 * 5 + 1 and seen[-1] == (5, 5)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    steps = [999, 749, 499, 249, 0]
    assert torch.equal(run(decoder, codes, options={"steps": 4}), run(decoder, codes, options={"step_list": steps}))


def test_cancel_stops_at_the_next_evaluation(decoder: MultiBandDecoder, codes: torch.Tensor) -> None:
    token, calls = CancelToken(), []

    def progress(done: int, total: int) -> None:
        calls.append(done)
        token.cancel()

    with pytest.raises(CancelledError):
        decoder.decode(codes, seed=1, cancel=token, progress=progress)
    assert len(calls) == 1


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda d, c: run(d, c, options={"stepps": 3}), RequestError, "'stepps' is unknown to mbd; it takes steps"),
    (lambda d, c: run(d, c, options={"steps": 0}), RequestError, "'steps' came as 0, expected a whole number from 1"),
    (lambda d, c: run(d, c, options={"steps": 2.5}), RequestError, "came as 2.5"),
    (lambda d, c: run(d, c, options={"step_list": [5, 9, 0]}), RequestError, "two falling whole numbers from 0 up"),
    (lambda d, c: run(d, c, options={"step_list": [1000, 0]}), RequestError, "starts at 1000, expected less than 1000"),
    (lambda d, c: run(d, c, options={"equalise": "no"}), RequestError, "expected batch, each or off"),
    (lambda d, c: run(d, c, noise=np.zeros((2, 3))), RequestError, r"expected \[2, 20, 1, 1, 3200\]"),
    (lambda d, c: run(d, c[0]), AudioError, r"shape \[4, 5\], expected \[B, K, T\]"),
])
def test_what_is_wrong_is_named(decoder: MultiBandDecoder, codes: torch.Tensor, call: Callable[..., object],
                                error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(decoder, codes)


def test_no_frames_give_no_samples(decoder: MultiBandDecoder, codes: torch.Tensor) -> None:
    assert run(decoder, codes[..., :0]).shape == (1, 1, 0)


def test_another_codec_needs_a_file_made_for_it(golden: Path, codec: Codec, tmp_path: Path) -> None:
    class Stereo:
        sample_rate, channels = 48_000, 2

    class Other:
        """The golden codec at a rate that no published model has."""

        sample_rate, channels = 16_000, 1

        def __getattr__(self, name: str) -> Any:
            return getattr(codec, name)

    with pytest.raises(CheckpointError, match="2 channels at 48000 Hz, expected MusicGen's mono 32 kHz"):
        make_decoder(_Host(), DecoderSetup(Stereo(), folder=tmp_path))  # type: ignore[arg-type]
    file = tmp_path / "mbd_mine.th"
    file.write_bytes((golden / "mbd_musicgen_32khz.th").read_bytes())
    made = make_decoder(_Host(), DecoderSetup(Other(), folder=tmp_path))  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="for 1 channel at 32000 Hz, but the codec has 1 channel at 16000"):
        made.model(4)
    package = read_torch_file(file, with_omegaconf=True)
    torch.save({**package, "sample_rate": 16_000}, tmp_path / "new")  # the old one is memory-mapped
    (tmp_path / "new").replace(file)
    wave = make_decoder(_Host(), DecoderSetup(Other(), folder=tmp_path)).decode(  # type: ignore[arg-type]
        torch.zeros(1, 4, 3, dtype=torch.int64), seed=1, cancel=CancelToken(), options={"steps": 1})
    assert wave.shape == (1, 1, 3 * 640)
