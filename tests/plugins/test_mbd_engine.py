"""Another decoder through the public door: generate with it, decode a clip again with it, latents through it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from goldens import find_golden
from plugin_hosts import host_with

import soundforge as sf
from soundforge.errors import AudioError, CancelledError, CheckpointError, RequestError

FAST = {"steps": 3}


def engine_of(case: str, folder: Path) -> sf.Engine:
    """A golden model with MultiBandDiffusion's file beside it; the latents happen to have the same width."""
    model, mbd = find_golden(case), find_golden("multiband_diffusion")
    if model is None or mbd is None:
        pytest.skip(f"no golden case {case} or multiband_diffusion")
    shutil.copytree(model, folder / case)
    (folder / case / "multiband-diffusion").mkdir()
    shutil.copy(mbd / "mbd_musicgen_32khz.th", folder / case / "multiband-diffusion")
    host = host_with("text", "encodec", "magnet", "chords", "jasco", "multiband_diffusion")
    return sf.load(folder / case, device="cpu", host=host)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> sf.Engine:
    return engine_of("magnet", tmp_path_factory.mktemp("models"))


def test_generate_and_redecode_agree(engine: sf.Engine) -> None:
    plain = engine.generate("calm piano", seconds=0.5, seed=3)
    other = engine.generate("calm piano", seconds=0.5, seed=3, decoder="mbd", decoder_options=FAST)
    np.testing.assert_array_equal(plain.codes, other.codes)
    assert plain.waveform.shape == other.waveform.shape
    assert not np.allclose(plain.waveform, other.waveform, atol=1e-3)
    again = engine.redecode(plain, "mbd", options=FAST)
    np.testing.assert_allclose(again.waveform, other.waveform, atol=1e-5)
    assert again.request.decoder == "mbd" and again.info["decoder_seed"] == 3
    back = engine.redecode(again)
    np.testing.assert_allclose(back.waveform, plain.waveform, atol=1e-5)
    assert not np.allclose(engine.redecode(plain, "mbd", seed=4, options=FAST).waveform, again.waveform, atol=1e-3)


def test_noise_progress_and_cancel_reach_the_decoder(engine: sf.Engine) -> None:
    clip = engine.generate("calm piano", seconds=0.5, seed=3)
    assert clip.codes is not None
    noise = torch.randn(2, 20, 1, 1, clip.codes.shape[1] * 640, generator=torch.Generator().manual_seed(1))
    seen: list[tuple[int, int]] = []
    one = engine.redecode(clip, "mbd", noise=noise, progress=lambda done, total: seen.append((done, total)))
    two = engine.redecode(clip, "mbd", noise=noise.numpy(), seed=99)
    np.testing.assert_array_equal(one.waveform, two.waveform)
    assert len(seen) == 41 and seen[-1] == (clip.codes.shape[1], clip.codes.shape[1])
    token = sf.CancelToken()
    with pytest.raises(CancelledError):
        engine.redecode(clip, "mbd", cancel=token, progress=lambda done, total: token.cancel())


def test_a_model_without_codes_hands_over_its_latents(tmp_path: Path) -> None:
    engine = engine_of("jasco_chords_drums", tmp_path)
    fast: dict[str, Any] = {"solver": "euler", "steps": 2}
    plain = engine.generate("calm piano", seconds=0.5, seed=3, options=fast)
    other = engine.generate("calm piano", seconds=0.5, seed=3, options=fast, decoder="mbd", decoder_options=FAST)
    assert other.waveform.shape == plain.waveform.shape
    # The equaliser brings it to the bands of the codec's own sound.
    assert abs(np.log(other.waveform.std() / plain.waveform.std())) < 0.7
    with pytest.raises(AudioError, match="carries no codes"):
        engine.redecode(plain, "mbd")


def test_a_published_decoder_or_codec_is_no_model() -> None:
    """Told at once, not after gigabytes."""
    for name, words in (("facebook/multiband-diffusion", "is a decoder, not a model; use a model with --decoder"),
                        ("facebook/encodec_32khz", r"is a codec, not a model; use load_codec\('facebook/enc")):
        with pytest.raises(CheckpointError, match=words):
            sf.load(name)


def test_progress_of_model_and_decoder_is_one(engine: sf.Engine) -> None:
    seen: list[tuple[int, int]] = []
    engine.generate("calm piano", seconds=0.5, seed=3, decoder="mbd", decoder_options=FAST,
                    progress=lambda done, total: seen.append((done, total)))
    # MAGNeT's 50 evaluations and its end, then two bands of three and their end; half of the whole each.
    done = [frames for frames, _ in seen]
    assert done == sorted(done) and len(done) == 51 + 7
    assert seen[50] == (12, 25) and seen[-1] == (24, 24)  # whole spans: a frame less than was asked for
    noise = np.zeros((2, 3, 1, 1, 24 * 640), np.float32)
    silent = engine.generate("calm piano", seconds=0.5, seed=3, decoder="mbd", decoder_options=FAST, noise=noise)
    other = engine.generate("calm piano", seconds=0.5, seed=3, decoder="mbd", decoder_options=FAST)
    assert not np.allclose(silent.waveform, other.waveform, atol=1e-3)  # MAGNeT takes no noise: it is the decoder's


def test_a_live_request_is_decoded_as_a_whole(engine: sf.Engine) -> None:
    request = sf.GenerateRequest(text="calm piano", seconds=0.5, seed=3, decoder="mbd", decoder_options=FAST,
                                 sampling=sf.SamplingParams(temperature=3.0, top_p=0.9, top_k=0, cfg=10.0))
    chunks = list(engine.stream_request(request))
    whole = engine.run([request])[0]
    assert len(chunks) == 1
    np.testing.assert_array_equal(chunks[0].samples, whole.waveform)
    np.testing.assert_array_equal(chunks[0].codes, whole.codes)


def test_what_is_wrong_is_named(engine: sf.Engine) -> None:
    clip = engine.generate("calm piano", seconds=0.5, seed=3)
    with pytest.raises(RequestError, match="expected one of mbd"):
        engine.redecode(clip, "magic")
    with pytest.raises(RequestError, match="'stepps' is unknown to mbd"):
        engine.redecode(clip, "mbd", options={"stepps": 3})
    strange = sf.Clip(clip.waveform, clip.sample_rate, codes=np.full((4, 3), 5000))
    with pytest.raises(AudioError, match="entries up to 5000, expected at most 4 of 128"):
        engine.redecode(strange, "mbd")
