"""Level hold: what a later window is continued from has the first one's loudness, and the sound has no step."""

from __future__ import annotations

import numpy as np
import torch

import soundforge as sf
from soundforge.engine.level_hold import SLIDE_SECONDS, LevelHold
from soundforge.testing.tiny_model import CARD, HOP, SAMPLE_RATE, tiny_codec, tiny_engine


class LoudCodec:
    """The tiny codec, `gain` times as loud from the second decode on: a model that has drifted."""

    def __init__(self, gain: float) -> None:
        self._codec, self._gain, self.encoded = tiny_codec(), gain, None
        self.sample_rate, self._calls = SAMPLE_RATE, 0

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        self._calls += 1
        return self._codec.decode(codes) * (1.0 if self._calls == 1 else self._gain)

    def encode(self, samples: torch.Tensor) -> object:
        self.encoded = samples
        return self._codec.encode(samples)


def test_the_next_window_is_continued_from_the_reference_level_and_the_sound_slides_to_it() -> None:
    codec = LoudCodec(1.6)
    hold = LevelHold(codec)  # type: ignore[arg-type]
    codes = torch.randint(0, CARD, (1, 4, 50), generator=torch.Generator().manual_seed(0))
    assert torch.equal(hold.on_shift(codes, 200), codes), "the first window is the reference"
    changed = hold.on_shift(codes, 320)
    assert changed.shape == codes.shape
    reference = tiny_codec().decode(codes)
    torch.testing.assert_close(codec.encoded, reference, atol=1e-4, rtol=1e-3)
    n = round((SLIDE_SECONDS + 2) * SAMPLE_RATE)
    gains = hold.apply(np.ones((1, 1, n), np.float32), 320 * HOP - SAMPLE_RATE, HOP)[0, 0]
    assert np.all(gains[:SAMPLE_RATE] == 1.0), "before the shift nothing is touched"
    # The continued material is 1 / 1.6 as loud as what was heard: it starts at 1.6 times and slides to 1.
    assert abs(gains[SAMPLE_RATE] - 1.6) < 1e-3
    assert abs(gains[-1] - 1.0) < 1e-6
    assert np.all(np.diff(gains[SAMPLE_RATE:]) <= 0) and np.abs(np.diff(gains[SAMPLE_RATE:])).max() < 1e-3


def test_a_level_that_holds_by_itself_is_left_alone() -> None:
    hold = LevelHold(LoudCodec(1.01))  # type: ignore[arg-type]
    codes = torch.randint(0, CARD, (1, 4, 50), generator=torch.Generator().manual_seed(0))
    hold.on_shift(codes, 200)
    assert torch.equal(hold.on_shift(codes, 320), codes)
    samples = np.ones((1, 1, 100), np.float32)
    assert hold.apply(samples, 320 * HOP, HOP) is samples


def test_it_works_through_the_engine_streamed_and_not() -> None:
    engine = tiny_engine()
    keywords = {"seconds": 9.0, "seed": 3, "window_seconds": 2.0, "stride_seconds": 1.2, "level_hold": True}
    clip = engine.generate("a", **keywords)  # type: ignore[arg-type]
    assert clip.waveform.shape == (1, 9 * SAMPLE_RATE)
    stream = np.concatenate([c.samples for c in engine.stream("a", **keywords)], axis=-1)  # type: ignore[arg-type]
    np.testing.assert_allclose(stream, clip.waveform, atol=5e-5)
    plain = engine.generate("a", **{**keywords, "level_hold": False})  # type: ignore[arg-type]
    assert np.array_equal(plain.codes[:, :160], clip.codes[:, :160]), "the first windows are the same"
    assert isinstance(clip, sf.Clip)
