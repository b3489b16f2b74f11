"""The Python door: keywords, batches, prompts, splices, records, threads, closing, and what bad input says."""

from __future__ import annotations

import gc
import json
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import soundforge as sf
from soundforge import api
from soundforge.audio import equal_power_crossfade
from soundforge.host import create_host
from soundforge.interfaces import (
    DecoderDescriptor,
    DecoderSetup,
    Host,
    LanguageModelParts,
    LoadOptions,
    ModelFamilyDescriptor,
)
from soundforge.registry import Origin
from soundforge.shared_host import shared_host
from soundforge.testing.tiny_model import CARD, HOP, SAMPLE_RATE, tiny_engine, tiny_parts


@pytest.fixture
def engine() -> api.Engine:
    return tiny_engine()


def noise(n_samples: int, rate: int = SAMPLE_RATE, channels: int = 1) -> sf.Waveform:
    samples = 0.3 * np.random.default_rng(n_samples).standard_normal((channels, n_samples))
    return sf.Waveform(samples.astype(np.float32), rate)


class TestClips:
    def test_a_clip_carries_what_made_it(self, engine: api.Engine) -> None:
        clip = engine.generate("a b", seconds=0.5, seed=7, bpm=120.0, top_k=10)
        assert clip.waveform.shape == (1, 4000) and clip.waveform.dtype == np.float32
        assert clip.codes is not None and clip.codes.shape == (4, 25) and clip.codes.dtype == np.int64
        assert (clip.sample_rate, clip.seed, clip.model, clip.bpm, clip.prompt_samples) == (8000, 7, "tiny", 120.0, 0)
        assert clip.request.text == "a b" and clip.request.sampling.top_k == 10
        assert clip.info["real_time_factor"] > 0
        json.dumps(clip.request.record()), json.dumps(clip.info)

    def test_the_record_makes_it_again_bit_for_bit(self, engine: api.Engine) -> None:
        clip = engine.generate("a b", bars=1, bpm=133.0, temperature=1.3)
        again = engine.run([clip.request])[0]
        assert np.array_equal(clip.waveform, again.waveform)

    def test_no_seed_is_a_new_one_each_time(self, engine: api.Engine) -> None:
        assert engine.generate("a", seconds=0.1).seed != engine.generate("a", seconds=0.1).seed

    def test_properties(self, engine: api.Engine) -> None:
        assert (engine.sample_rate, engine.channels, engine.frame_rate_hz) == (8000, 1, 50.0)
        assert isinstance(engine.frame_rate_hz, float)
        assert [slot.name for slot in engine.slots] == ["mood", "text", "pulse"]
        assert engine.licence == "MIT" and engine.window_seconds == 4.0 and "tiny" in repr(engine)

    @pytest.mark.parametrize(("seconds", "frames"), [(0.02, 1), (0.58, 29), (0.059, 2), (1, 50)])
    def test_length_is_whole_frames(self, engine: api.Engine, seconds: float, frames: int) -> None:
        # 0.58 * 50 is 28.999... in floats.
        assert engine.generate(seconds=seconds, seed=0).waveform.shape == (1, frames * HOP)

    def test_default_length_is_the_models_or_eight_seconds(self) -> None:
        import dataclasses

        assert tiny_engine().generate(seed=0).seconds == 8.0
        parts = dataclasses.replace(tiny_parts(), defaults={"seconds": 0.4, "temperature": 0.0, "cfg": 2.0})
        clip = tiny_engine(parts).generate("a")
        assert clip.seconds == 0.4
        assert (clip.request.sampling.temperature, clip.request.sampling.cfg) == (0.0, 2.0)
        assert tiny_engine(parts).generate("a", seconds=0.1, cfg=5.0).request.sampling.cfg == 5.0


class TestBatches:
    def test_a_list_gives_a_list(self, engine: api.Engine) -> None:
        clips = engine.generate(["a", None, "c d e"], seconds=0.4, seed=5)
        assert [clip.request.text for clip in clips] == ["a", None, "c d e"]
        assert [clip.seed for clip in clips] == [5, 6, 7]
        assert isinstance(engine.generate(["a"], seconds=0.1), list)

    def test_items_have_their_own_random_numbers(self, engine: api.Engine) -> None:
        clips = engine.generate(["same", "same"], seconds=0.4, seed=5)
        assert not np.array_equal(clips[0].codes, clips[1].codes)
        alone = engine.generate("same", seconds=0.4, seed=6)
        assert np.array_equal(clips[1].codes, alone.codes), "texts of one length need no padding"

    def test_a_condition_per_item(self, engine: api.Engine) -> None:
        one, none = engine.generate(["a", "a"], seconds=0.4, seed=5, temperature=0,
                                    conditions={"mood": [noise(4000), None]})
        assert not np.array_equal(one.codes, none.codes)
        assert "mood" in one.request.conditions and "mood" not in none.request.conditions
        with pytest.raises(sf.ConditionError, match=r"list of 3.*each of the 2 items"):
            engine.generate(["a", "b"], seconds=0.1, conditions={"mood": [None] * 3})

    def test_a_batch_of_prompts(self, engine: api.Engine) -> None:
        codes = torch.randint(0, CARD, (2, 4, 20), generator=torch.Generator().manual_seed(0))
        clips = engine.extend(codes, "a", seconds=0.2, seed=1)
        assert isinstance(clips, list)
        for index, clip in enumerate(clips):
            assert clip.codes is not None and np.array_equal(clip.codes[:, :20], codes[index].numpy())
        with pytest.raises(sf.RequestError, match="3 texts came with 2 prompts"):
            engine.extend(codes, ["a", "b", "c"], seconds=0.2)

    def test_an_empty_list_is_an_error(self, engine: api.Engine) -> None:
        with pytest.raises(sf.RequestError, match="empty list"):
            engine.generate([])


class TestExtend:
    def test_prompt_and_continuation(self, engine: api.Engine) -> None:
        clip = engine.generate("a", seconds=0.5, seed=1, bpm=90.0)
        more = engine.extend(clip, seconds=0.3, seed=2)
        assert clip.codes is not None and more.codes is not None
        assert more.waveform.shape == (1, 4000 + 2400) and more.prompt_samples == 4000
        assert np.array_equal(more.codes[:, :25], clip.codes), "a clip of this model is continued from its codes"
        assert more.bpm == 90.0, "the tempo is the prompt's"
        assert engine.extend(clip, bars=1, seed=2, only_new=True).waveform.shape[1] == round(4 * 60 / 90 * SAMPLE_RATE)
        new = engine.extend(clip, seconds=0.3, seed=2, only_new=True)
        assert new.prompt_samples == 0 and new.codes is not None
        assert np.array_equal(new.waveform, more.waveform[:, 4000:])
        assert np.array_equal(new.codes, more.codes[:, 25:])

    def test_a_waveform_is_cut_at_its_start(self, engine: api.Engine) -> None:
        wave = noise(4000 + 77)
        cut = engine.extend(wave.slice_samples(77), seconds=0.2, seed=2)
        assert np.array_equal(engine.extend(wave, seconds=0.2, seed=2).waveform, cut.waveform)

    def test_a_take_is_a_prompt_and_a_condition(self, engine: api.Engine) -> None:
        from soundforge.take import Take

        take = Take(noise(4000), bpm=100.0)
        clip = engine.extend(take, seconds=0.2, seed=2, conditions={"mood": take})
        same = engine.extend(take.waveform, seconds=0.2, seed=2, bpm=100.0, conditions={"mood": take.waveform})
        assert clip.bpm == 100.0 and np.array_equal(clip.waveform, same.waveform)

    def test_other_rates_and_channels_are_taken(self, engine: api.Engine) -> None:
        clip = engine.extend(noise(48_000, 48_000, 2), seconds=0.2, seed=2)
        assert clip.prompt_samples == 8000 and clip.channels == 1

    def test_splice_keeps_the_prompts_own_samples(self, engine: api.Engine) -> None:
        wave = noise(4000 + 77)
        clip = engine.extend(wave, seconds=0.5, seed=2, splice=True, crossfade_ms=20)
        assert clip.waveform.shape == (1, 4077 + 4000) and clip.prompt_samples == 4077
        fade = 160
        assert np.array_equal(clip.waveform[:, :4077 - fade], wave.samples[:, :4077 - fade])
        new = engine.extend(wave, seconds=0.5, seed=2, only_new=True)
        gain = clip.info["splice_gain"]  # half a second: too short to speak of a colour
        np.testing.assert_allclose(clip.waveform[:, 4077:], new.waveform * np.float32(gain), atol=2e-5)
        assert 10 ** (-6 / 20) <= gain <= 10 ** (6 / 20) and clip.info["splice_colour_db"] == 0.0

    def test_bars_are_exact_behind_a_prompt_too(self, engine: api.Engine) -> None:
        wanted = round(4 * 60 / 97.3 * SAMPLE_RATE)
        for splice in (False, True):
            clip = engine.extend(noise(4000), bars=1, bpm=97.3, seed=2, splice=splice)
            assert clip.waveform.shape[1] == 4000 + wanted

    def test_a_loop_goes_round_without_a_seam(self, engine: api.Engine) -> None:
        ask = {"bars": 1, "bpm": 97.3, "seed": 2}
        n, seam = round(4 * 60 / 97.3 * SAMPLE_RATE), round(0.01 * SAMPLE_RATE)
        # Generated further than the loop: so that is what follows its end.
        longer = engine.generate("a b", seconds=4 * 60 / 97.3 + 0.1, seed=2, bpm=97.3).waveform
        clip = engine.generate("a b", **ask, loop=True)
        assert clip.waveform.shape == (1, n) and clip.request.loop
        np.testing.assert_allclose(clip.waveform[:, seam:], longer[:, seam:n], atol=2e-5)
        want = equal_power_crossfade(longer[:, n:n + seam], longer[:, :seam])
        np.testing.assert_allclose(clip.waveform[:, :seam], want, atol=2e-5)
        after = engine.extend(noise(4000), **ask, loop=True, only_new=True)
        plain = engine.extend(noise(4000), **ask, only_new=True)
        assert not np.array_equal(after.waveform[:, :seam], plain.waveform[:, :seam])
        np.testing.assert_allclose(after.waveform[:, seam:], plain.waveform[:, seam:], atol=2e-5)
        behind = engine.extend(noise(4000), **ask, loop=True)  # with its prompt it is no loop
        np.testing.assert_allclose(behind.waveform[:, 4000:], plain.waveform, atol=2e-5)
        with pytest.raises(sf.RequestError, match="loop came without bars; give bars"):
            engine.generate("a", seconds=1, loop=True)
        with pytest.raises(sf.RequestError, match="loop came for a stream"):
            engine.stream("a", **ask, loop=True)

    def test_what_is_spliced_is_matched_alone_too(self, engine: api.Engine) -> None:
        wave = sf.Waveform(np.sin(np.arange(12_000) / 4).astype(np.float32) * 0.3, SAMPLE_RATE)
        whole = engine.extend(wave, seconds=0.5, seed=2, splice=True)
        alone = engine.extend(wave, seconds=0.5, seed=2, splice=True, only_new=True)
        assert alone.prompt_samples == 0 and alone.info["splice_colour_db"] > 0.0
        np.testing.assert_array_equal(alone.waveform, whole.waveform[:, wave.n_samples:])

    def test_the_record_names_the_prompt_by_hash(self, engine: api.Engine) -> None:
        import hashlib

        wave = noise(4000)
        clip = engine.extend(wave, seconds=0.2, seed=2)
        assert clip.info["prompt"]["audio_sha256"] == hashlib.sha256(wave.samples.tobytes()).hexdigest()
        assert engine.extend(clip.codes, seconds=0.2, seed=2).info["prompt"] == {"codes": True}

    @pytest.mark.parametrize(("prompt", "match"), [
        (noise(0), "0 samples.*at least one frame of 0.02 s"), (noise(1), "1 samples"), (noise(159), "159 samples"),
        (np.zeros((4, 10), np.float32), "array of torch.float32.*sf.Waveform"),
        (np.zeros((3, 10), np.int64), r"shape \[3, 10\], expected \[4, frames\]"),
        (np.zeros((4, 0), np.int64), r"shape \[4, 0\]"), (np.full((4, 2), CARD), "codes from 40 to 40.*0 to 39"),
        ("loop.wav", "came as str"), (None, "came as NoneType"),
    ])
    def test_unusable_prompts_say_what_would_be_right(self, engine: api.Engine, prompt: Any, match: str) -> None:
        with pytest.raises(sf.AudioError, match=match):
            engine.extend(prompt, seconds=0.2)


@pytest.mark.parametrize(("keywords", "match"), [
    ({"secnods": 3}, "unknown keyword 'secnods'; did you mean 'seconds'"),
    ({"seconds": 0.001}, "0.001 s were asked for, expected at least one frame of 0.02 s"),
    ({"seconds": float("nan")}, "seconds came as nan"), ({"bars": 4}, "bars came without bpm"),
    ({"bars": 4, "seconds": 1, "bpm": 100}, "choose one"), ({"temperature": -1}, "temperature came as -1"),
    ({"seed": 1.5}, "seed came as 1.5"), ({"decoder": "nonsense"}, "decoder came as 'nonsense'"),
    ({"text": 3}, "text came as int"), ({"text": ["a", 3]}, "text came as list"),
    ({"conditions": "chroma"}, "conditions came as str"), ({"guidance": 2}, "guidance came as int"),
    ({"progress": 3}, "progress came as int"), ({"cancel": True}, "cancel came as bool"),
    ({"conditions": {"moood": 1}}, r"'moood' came.*did you mean 'mood'"),
    ({"conditions": {"tide": 1}}, "no loaded plugin has a conditioner of that name"),
])
def test_bad_keywords_are_told_in_one_line(engine: api.Engine, keywords: dict[str, Any], match: str) -> None:
    with pytest.raises(sf.InputError, match=match) as error:
        engine.generate(**keywords)
    assert "\n" not in str(error.value)


def test_requests_queue_and_seeds_hold_between_threads(engine: api.Engine) -> None:
    alone = {seed: engine.generate("a", seconds=0.5, seed=seed).waveform for seed in range(4)}
    made: dict[int, Any] = {}

    def work(seed: int) -> None:
        stream = np.concatenate([c.samples for c in engine.stream("a", seconds=0.5, seed=seed)], axis=-1)
        made[seed] = engine.generate("a", seconds=0.5, seed=seed).waveform, stream

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, wave in alone.items():
        assert np.array_equal(made[seed][0], wave)
        np.testing.assert_allclose(made[seed][1], wave, atol=2e-5)


class TestEnding:
    def test_cancel_frees_the_memory(self, engine: api.Engine) -> None:
        cancel = sf.CancelToken()
        states: list[weakref.ref[Any]] = []

        def progress(done: int, total: int) -> None:
            from soundforge.nn.kv_cache import DecodeState

            if not states:
                states.extend(weakref.ref(o) for o in gc.get_objects() if type(o) is DecodeState)
            if done == 20:
                cancel.cancel()

        with pytest.raises(sf.CancelledError):
            engine.generate("a", seconds=100, seed=0, cancel=cancel, progress=progress)
        gc.collect()
        assert states and all(state() is None for state in states)
        assert engine.generate("a", seconds=0.1, seed=0).seconds == 0.1

    def test_close_ends_what_runs(self, engine: api.Engine) -> None:
        errors: list[BaseException] = []
        running = threading.Event()

        def work() -> None:
            try:
                engine.generate("a", seconds=3000, seed=0, progress=lambda done, total: running.set())
            except sf.CancelledError as error:
                errors.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        assert running.wait(20)
        began = time.perf_counter()
        engine.close()
        thread.join(20)
        assert len(errors) == 1 and time.perf_counter() - began < 10
        engine.close()
        with pytest.raises(sf.JobError, match="closed"):
            engine.generate("a", seconds=0.1)
        assert repr(engine) == "Engine(closed)"

    def test_a_context_manager_closes(self) -> None:
        with tiny_engine() as engine:
            engine.generate("a", seconds=0.1)
        with pytest.raises(sf.JobError):
            _ = engine.sample_rate


class Halves:
    """A decoder of another kind: a constant of the right length."""

    def decode(self, codes: torch.Tensor, *, seed: Any, cancel: Any, progress: Any = None, noise: Any = None,
               options: Any = None) -> torch.Tensor:
        return torch.full((codes.shape[0], 1, codes.shape[-1] * HOP), (options or {}).get("level", 0.25))


def host_with_tiny() -> Any:
    host = create_host(load_entry_points=False)
    origin = Origin("test")

    def load(host: Host, folder: Path | None, options: LoadOptions) -> LanguageModelParts:
        return tiny_parts()

    def make(host: Host, setup: DecoderSetup) -> Halves:
        return Halves()

    host.registries.model_families.add(
        ModelFamilyDescriptor("tiny", lambda folder: (folder / "tiny").exists(), load, ("tiny",)), origin)
    host.registries.decoders.add(DecoderDescriptor("halves", ("tiny",), make), origin)
    return host


class TestLoad:
    def test_by_embedded_name_and_folder(self, tmp_path: Path) -> None:
        (tmp_path / "tiny").touch()
        for name in ("tiny", tmp_path):
            assert sf.load(name, host=host_with_tiny()).name == "tiny"

    @pytest.mark.parametrize("bits", ["int8", "int4"])
    def test_quantised(self, bits: str) -> None:
        from soundforge.nn.quantised import QuantisedLinear

        engine = sf.load("tiny", quantize=bits, host=host_with_tiny())
        assert any(isinstance(m, QuantisedLinear) for m in engine.model.decoder.lm.modules())  # type: ignore[union-attr]

    @pytest.mark.parametrize(("keywords", "match"), [
        ({"device": "gpu"}, "device came as 'gpu'"), ({"device": "cuda:99"}, "device came as 'cuda:99'"),
        ({"quantize": "int2"}, "quantize came as 'int2'"),
    ])
    def test_impossible_settings(self, keywords: dict[str, str], match: str) -> None:
        with pytest.raises(sf.SettingsError, match=match):
            sf.load("tiny", host=host_with_tiny(), **keywords)  # type: ignore[arg-type]

    @pytest.mark.parametrize("load", [sf.load, sf.load_codec])
    @pytest.mark.parametrize("name", [3, None, b"tiny"])
    def test_what_is_no_name_is_told(self, load: Any, name: Any) -> None:
        with pytest.raises(sf.SettingsError, match=r"came as .*, expected a name or a folder"):
            load(name, host=host_with_tiny())

    def test_a_plugin_s_file_that_loads_a_model_itself_is_told(self, tmp_path: Path) -> None:
        """As a script beside the plugins does, which is imported with them; it would wait for itself."""
        (tmp_path / "use.py").write_text(f"import soundforge\nsoundforge.load('tiny', plugins_dir={str(tmp_path)!r})\n")
        with pytest.raises(sf.CheckpointError, match="no model 'tiny'"):
            sf.load("tiny", plugins_dir=tmp_path)
        assert [info.name for info in shared_host(tmp_path, ()).manager.report() if "if __name__ ==" in info.error]

    def test_unknown_names_list_the_choices(self) -> None:
        with pytest.raises(sf.CheckpointError, match=r"no model 'tinny'.*embedded models: tiny"):
            sf.load("tinny", host=host_with_tiny())
        with pytest.raises(sf.CheckpointError, match="no codec 'tinny'"):
            sf.load_codec("tinny", host=host_with_tiny())

    def test_another_decoder(self) -> None:
        parts = tiny_parts()
        engine = tiny_engine(parts, host_with_tiny())
        clip = engine.generate("a", seconds=0.1, decoder="halves", decoder_options={"level": 0.5})
        assert np.all(clip.waveform == 0.5) and clip.waveform.shape == (1, 800)
        with pytest.raises(sf.RequestError, match="needs the whole"):
            engine.stream("a", seconds=0.1, decoder="halves")
