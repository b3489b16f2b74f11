"""The starter's conditioners: null is zero, the transport is arithmetic, text forgives typos."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from soundforge.audio import Waveform
from soundforge.errors import ConditionError
from soundforge.interfaces import ConditionContext, ConditionerSetup, Slot
from soundforge.nn.starter_codec import StarterCodecConfig, StarterCodecNet
from soundforge.nn.starter_conditions import TRANSPORT_WIDTH, style_summary, transport_features
from soundforge.nn.starter_recall import StyleMemory
from soundforge.nn.starter_text import BUCKETS, StarterTextEncoder, asked_key, asked_tempo, word_pieces
from soundforge_plugins.starter.codec import StarterCodec
from soundforge_plugins.starter.conditioners import ORDINARY_LEVEL_DB, StarterChroma, StarterLevel, StarterStyle
from soundforge_plugins.starter.tempi import usual_tempo
from soundforge_plugins.starter.text import KEY_STRENGTH, TOWARDS_TEXT, StarterText
from soundforge_plugins.starter.timing import Beat, Transport

RATE = 32_000


def context(**values: object) -> ConditionContext:
    base: dict[str, object] = {"sample_rate": RATE, "frame_rate_hz": 50.0, "n_frames": 100}
    return ConditionContext(**{**base, **values})  # type: ignore[arg-type]


def setup(name: str, width: int, codec: object = None) -> ConditionerSetup:
    return ConditionerSetup(Slot(name, name, width, "sum", 50.0), codec=codec)  # type: ignore[arg-type]


def beat_loop(bpm: float, seconds: float) -> Waveform:
    samples = np.zeros(int(seconds * RATE), dtype=np.float32)
    hit = (np.random.default_rng(0).standard_normal(1600) * np.exp(-np.arange(1600) / 300) * 0.5).astype(np.float32)
    for beat in range(int(seconds * bpm / 60)):
        start = int(beat * 60 / bpm * RATE)
        samples[start : start + 1600] += hit[: len(samples) - start]
    return Waveform(samples, RATE)


def test_transport_follows_the_stated_tempo() -> None:
    transport = Transport(setup("transport", TRANSPORT_WIDTH))
    at = context(bpm=120.0, start_beat=6.0, prompt_frames=50)
    condition = transport.encode([transport.prepare(None, at)], at)
    # At 120 BPM a beat has 25 frames: frame 50 is beat 6, and one bar later every phase below two bars is the same.
    again = context(bpm=120.0, start_beat=6.0, prompt_frames=50, n_frames=500)
    longer = transport.encode([transport.prepare(None, again)], again).values
    torch.testing.assert_close(longer[:, :100], condition.values)
    torch.testing.assert_close(longer[:, 0], longer[:, 400], atol=1e-4, rtol=0)
    assert bool(condition.mask.all())


def test_the_feature_of_a_frame_holds_the_phase_of_the_frame_before() -> None:
    beats = torch.arange(10, dtype=torch.float64)[None] * 0.04
    one = torch.ones(1, dtype=torch.float64)
    values = transport_features(beats, 120 * one, 4 * one, 0.04 * one)[0]
    half = (TRANSPORT_WIDTH - 2) // 2
    torch.testing.assert_close(values[1:, half : 2 * half], values[:-1, :half])


def test_transport_hears_the_tempo_of_a_prompt_and_keeps_silent_about_silence() -> None:
    transport = Transport(setup("transport", TRANSPORT_WIDTH))
    beat = transport.prepare(None, context(prompt=beat_loop(120.0, 4.0), prompt_frames=200))
    assert beat is not None
    assert beat.bpm in (pytest.approx(120.0, rel=0.02), pytest.approx(60.0, rel=0.02))
    assert abs((beat.beat_at_prompt_end + 0.5) % 1.0 - 0.5) < 0.1
    silence = Waveform(np.zeros(4 * RATE, dtype=np.float32), RATE)
    assert transport.prepare(None, context(prompt=silence)) is None
    assert transport.prepare("off", context(bpm=120.0)) is None
    with pytest.raises(ConditionError):
        transport.prepare("fast", context())
    with pytest.raises(ConditionError):
        transport.prepare(5000.0, context())


def test_null_rows_are_masked_zeros_and_do_not_depend_on_their_neighbours() -> None:
    transport = Transport(setup("transport", TRANSPORT_WIDTH))
    both = transport.encode([None, Beat(120.0, 4, 0.0)], context())
    assert not both.mask[0].any()
    assert float(both.values[0].abs().max()) == 0.0
    alone = transport.encode([Beat(120.0, 4, 0.0)], context())
    torch.testing.assert_close(both.values[1:], alone.values)


def test_text_is_tolerant_of_typos_and_unknown_words() -> None:
    shared = set(word_pieces("techno")) & set(word_pieces("tecno"))
    assert len(shared) >= 2
    assert all(0 < piece < BUCKETS for piece in word_pieces("supercalifragilistic"))
    assert set(word_pieces("124")) & set(word_pieces("125"))
    assert not set(word_pieces("124")) & set(word_pieces("80"))
    torch.manual_seed(0)
    text = StarterText(setup("text", 32 + TRANSPORT_WIDTH + 12))
    at = context()
    items = [text.prepare(words, at) for words in ("dark techno", "dark tecno", "gentle harp", None)]
    rows = text.encode(items, at)
    assert rows.values.shape == (4, at.n_frames, 32 + TRANSPORT_WIDTH + 12)
    right, typo, other = (rows.values[i, 0] for i in range(3))
    assert (right - typo).norm() < (right - other).norm()
    assert rows.mask.any(1).tolist() == [True, True, True, False]
    assert float(rows.values[3].abs().max()) == 0.0


@pytest.mark.parametrize(("said", "bpm"), [
    ("techno, 124 bpm", 124.0), ("tempo 90", 90.0), ("at 87.5BPM", 87.5), ("174-bpm jungle", 174.0),
    ("80s synth", None), ("303 acid", None), ("900 bpm", None),
])
def test_the_tempo_that_a_text_asks_for(said: str, bpm: float | None) -> None:
    assert asked_tempo(said) == bpm


def test_a_style_brings_its_usual_tempo() -> None:
    assert usual_tempo("dark Drum and Bass", 1) in range(168, 177)
    assert usual_tempo("lo-fi hip hop", 1) in range(70, 99)
    assert usual_tempo("dubstep", 3) == usual_tempo("dubstep", 3) in range(138, 143)
    assert usual_tempo("a dubious place full of clubs", 1) in range(92, 129)
    for beatless in ("techno, no drums", "House without percussion", "beatless trance", "drumless"):
        assert usual_tempo(beatless, 1) is None
    assert len({usual_tempo("rock", seed) for seed in range(9)}) > 3


def test_words_choose_the_slower_or_the_faster_end() -> None:
    for seed in range(20):
        slow, fast = usual_tempo("calm rock", seed), usual_tempo("Energetic rock, distorted guitar", seed)
        assert slow in range(100, 114)
        assert fast in range(127, 141)
        assert usual_tempo("slow groove", seed) in range(64, 89)
        assert usual_tempo("upbeat", seed) in range(132, 157)
        # Both at once say nothing of the tempo, and a word inside another is none.
        assert usual_tempo("calm yet driving rock", seed) == usual_tempo("rock", seed)
        assert usual_tempo("breakfast rock", seed) == usual_tempo("rock", seed)
    assert usual_tempo("calm, no drums", 1) is None


def test_a_text_sets_the_beat_only_where_nothing_else_does() -> None:
    text = StarterText(setup("text", 32 + TRANSPORT_WIDTH + 12))
    transport = Transport(setup("transport", TRANSPORT_WIDTH))
    said = context()
    beat = text.encode([text.prepare("house, 120 bpm", said)], said).values[..., 32:-12]
    stated = context(bpm=120.0, start_beat=0.0)
    torch.testing.assert_close(beat, transport.encode([transport.prepare(None, stated)], stated).values)
    prompted = context(prompt=beat_loop(100.0, 2.0), prompt_frames=100)
    for other in (stated, prompted):
        assert float(text.encode([text.prepare("house, 120 bpm", other)], other).values[..., 32:-12].abs().max()) == 0.0
    # A later window goes on where the first one was; nothing is prepared anew for it.
    later = context(prompt_frames=40, window_start_frames=60, new_start_frames=-60, window_seconds=4.0)
    there = text.encode([text.prepare("house, 120 bpm", said)], later).values[..., 32:-12]
    torch.testing.assert_close(there[:, :40], beat[:, 60:], atol=1e-4, rtol=0)


def remembering(entries: int = 6, codec: object = None) -> StarterText:
    """A text conditioner that remembers pieces; the style of piece i is i + 1 throughout, four numbers wide."""
    torch.manual_seed(0)
    memory = StyleMemory(entries, 32, 4, width=8)
    memory.keys.copy_(torch.nn.functional.normalize(torch.randn(entries, 8), dim=-1))
    memory.styles.copy_(torch.arange(1.0, entries + 1)[:, None].expand(-1, 4))
    tensors = {f"memory.{name}": value for name, value in memory.state_dict().items()}
    tensors |= StarterTextEncoder(32).state_dict()
    slot = Slot("text", "text", 32 + TRANSPORT_WIDTH + 12 + 4, "sum", 50.0)
    return StarterText(ConditionerSetup(slot, tensors=tensors, codec=codec))  # type: ignore[arg-type]


def test_a_text_recalls_a_style_unless_something_else_says_how_it_sounds() -> None:
    text = remembering()

    def style(at: ConditionContext, said: str = "solo piano") -> torch.Tensor:
        return text.encode([text.prepare(said, at)], at).values[0, :, -4:]

    kept = style(context(seed=3))
    assert float(kept[0, 0]) in range(1, 7) and bool((kept == kept[0, 0]).all())
    torch.testing.assert_close(style(context(seed=3, bpm=120.0)), kept)
    assert len({float(style(context(seed=seed))[0, 0]) for seed in range(30)}) > 1
    for silent in (context(seed=3, given=frozenset({"text", "style"})), context(seed=3, options={"recall": False}),
                   context(seed=3, prompt=beat_loop(100.0, 2.0), prompt_frames=100),
                   context(seed=3, prompt_codes=torch.zeros(4, 50, dtype=torch.long))):
        assert float(style(silent).abs().max()) == 0.0
    with pytest.raises(ConditionError, match=r"option 'recall'.*expected true or false"):
        text.prepare("solo piano", context(options={"recall": "no"}))


class Latents:
    """A codec whose latent says the first codebook's code, four numbers wide."""

    def decode_latent(self, codes: torch.Tensor) -> torch.Tensor:
        return codes[:, :1].float().expand(-1, 2, -1)


def test_with_a_prompt_a_text_leads_from_its_sound_towards_the_nearest_that_fits() -> None:
    text = remembering(codec=Latents())
    codes = torch.full((4, 200), 4)  # its style: mean 4, deviation nearly none
    asked = context(prompt_codes=codes, seed=3)
    led = text.encode([text.prepare("solo piano", asked)], asked).values[0, 0, -4:]
    # Of all six pieces (fewer than are chosen from) the nearest to (4, 4, 0, 0) has twos or threes throughout.
    own = torch.tensor([4.0, 4.0, 1e-3, 1e-3])
    assert text.memory is not None
    distances = (text.memory.styles - own).norm(dim=-1)
    torch.testing.assert_close(led, TOWARDS_TEXT * (text.memory.styles[distances.argmin()] - own), atol=1e-3, rtol=0)
    given = context(prompt_codes=codes, given=frozenset({"style"}))
    assert float(text.encode([text.prepare("solo piano", given)], given).values[0, :, -4:].abs().max()) == 0.0


@pytest.mark.parametrize("lost", ["keys", "styles", "query.up.weight"])
def test_a_memory_that_is_not_whole_is_refused(lost: str) -> None:
    tensors = {f"memory.{name}": value for name, value in StyleMemory(6, 32, 4, width=8).state_dict().items()}
    del tensors[f"memory.{lost}"]
    slot = Slot("text", "text", 32 + TRANSPORT_WIDTH + 12 + 4, "sum", 50.0)
    with pytest.raises(ConditionError, match="what the text of this checkpoint remembers cannot be read"):
        StarterText(ConditionerSetup(slot, tensors=tensors))


def test_a_weight_of_the_text_leaves_its_style_alone() -> None:
    text = remembering()
    whole = text.prepare("solo piano", context(seed=1))
    assert whole is not None and whole.unweighted is not None
    both = text.encode([whole, whole.unweighted], context(seed=1)).values
    torch.testing.assert_close(both[0, :, 32:], both[1, :, 32:])
    assert float(both[0, :, :32].abs().max()) > 0.0 == float(both[1, :, :32].abs().max())


def test_the_nearest_pieces_are_recalled_the_nearer_the_oftener() -> None:
    memory = StyleMemory(50, 16, 3, width=8)
    torch.manual_seed(1)
    asked = torch.randn(16)
    with torch.no_grad():
        towards = memory.query(asked)
        away = torch.nn.functional.normalize(torch.randn(50, 8), dim=-1)
        memory.keys.copy_(-away * torch.sign(away @ towards)[:, None])  # all on the far side ...
        memory.keys[7], memory.keys[11] = towards, torch.nn.functional.normalize(towards + 0.3 * away[0], dim=-1)
        memory.styles.copy_(torch.arange(50.0)[:, None].expand(-1, 3))
        memory.sharpness.fill_(20.0)
    found = [int(memory.recall(asked, seed)[0]) for seed in range(200)]
    assert found == [int(memory.recall(asked, seed)[0]) for seed in range(200)]
    assert set(found) <= {7, 11} and found.count(7) > found.count(11) > 0  # ... but these two


@pytest.mark.parametrize(("said", "key"), [
    ("in A minor", (9, "minor")), ("F# dorian jazz", (6, "dorian")), ("key of a flat major", (8, "major")),
    ("Bb major", (10, "major")), ("a major hit", (9, "major")), ("minor techno", None), ("h minor", None),
])
def test_the_key_that_a_text_asks_for(said: str, key: tuple[int, str] | None) -> None:
    assert asked_key(said) == key


def test_a_key_in_the_text_is_chroma_unless_there_is_a_prompt() -> None:
    text = StarterText(setup("text", 32 + TRANSPORT_WIDTH + 12))
    free = context(bpm=100.0)
    chroma = text.encode([text.prepare("piano in A minor", free), None], free).values[..., -12:]
    assert chroma[0, 0].nonzero().flatten().tolist() == [0, 2, 4, 5, 7, 9, 11]
    assert (chroma[0, 0] == KEY_STRENGTH).nonzero().flatten().tolist() == [0, 4, 9]
    assert float(chroma[1].abs().max()) == 0.0
    prompted = context(prompt=beat_loop(100.0, 2.0), prompt_frames=100)
    heard = text.encode([text.prepare("piano in A minor", prompted)], prompted).values[..., -12:]
    assert float(heard.abs().max()) == 0.0


def test_level_is_heard_stated_or_ordinary() -> None:
    level = StarterLevel(setup("level", 2))
    loop = beat_loop(120.0, 4.0)
    heard = level.prepare(None, context(prompt=loop, prompt_frames=200))
    assert heard == pytest.approx(10 * np.log10(np.mean(loop.samples[0] ** 2)), abs=0.1)
    assert level.prepare(None, context()) == ORDINARY_LEVEL_DB
    assert level.prepare("off", context(prompt=loop)) is None
    assert level.prepare(-30, context(prompt=loop)) == -30.0
    condition = level.encode([-20.0, None], context())
    assert condition.values.tolist() == [[[0.0, 1.0]], [[0.0, 0.0]]]
    assert condition.mask.tolist() == [[True], [False]]
    for bad in (3.0, "loud", float("nan")):
        with pytest.raises(ConditionError, match="level"):
            level.prepare(bad, context())


def test_text_refuses_what_is_no_text() -> None:
    text = StarterText(setup("text", 32 + TRANSPORT_WIDTH + 12))
    with pytest.raises(ConditionError, match="expected a description"):
        text.prepare(3, context())
    assert text.prepare("!!!", context()) is None


def test_chroma_names_the_pitch_of_a_tone_from_the_first_new_frame() -> None:
    chroma = StarterChroma(setup("chroma", 12))
    time = np.arange(2 * RATE) / RATE
    tone = Waveform((0.3 * np.sin(2 * np.pi * 440.0 * time)).astype(np.float32), RATE)
    at = context(prompt_frames=40)
    condition = chroma.encode([chroma.prepare(tone, at), None], at)
    assert not condition.mask[0, :40].any()
    assert condition.mask[0, 40:].all()
    assert (condition.values[0, 45:95].argmax(-1) == 9).all()
    assert not condition.mask[1].any()
    silent = Waveform(np.zeros(RATE, dtype=np.float32), RATE)
    assert float(chroma.encode([chroma.prepare(silent, at)], at).values.abs().max()) == 0.0
    with pytest.raises(ConditionError, match="expected audio"):
        chroma.prepare("C major", at)


def test_later_windows_go_on_in_time() -> None:
    """A window that starts 100 frames later sees what the first one would have seen there."""
    prompt = beat_loop(120.0, 2.0)
    long = {"window_seconds": 4.0, "n_frames": 200, "prompt": prompt}
    first = context(window_start_frames=0, prompt_frames=100, new_start_frames=100, **long)
    later = context(window_start_frames=100, prompt_frames=100, new_start_frames=0, **long)
    transport = Transport(setup("transport", TRANSPORT_WIDTH))
    here, there = (transport.encode([transport.prepare(None, at)], at).values for at in (first, later))
    torch.testing.assert_close(here[:, 100:], there[:, :100], atol=2e-3, rtol=0)

    chroma = StarterChroma(setup("chroma", 12))
    time = np.arange(6 * RATE) / RATE
    glide = Waveform((0.3 * np.sin(2 * np.pi * (300 * time + 40 * time**2))).astype(np.float32), RATE)
    here, there = (chroma.encode([chroma.prepare(glide, at)], at).values for at in (first, later))
    torch.testing.assert_close(here[:, 100:], there[:, :100])
    assert float(there[:, 100:].abs().max()) > 0.5


@pytest.mark.parametrize("value", [object(), float("nan"), float("inf"), [1.0]])
def test_transport_refuses_what_is_no_tempo(value: object) -> None:
    with pytest.raises(ConditionError):
        Transport(setup("transport", TRANSPORT_WIDTH)).prepare(value, context())


def test_style_needs_enough_audio_and_is_one_vector() -> None:
    config = StarterCodecConfig(codebook_size=16, latent_width=8, fast_width=16, slow_width=16)
    style = StarterStyle(setup("style", 16, StarterCodec(StarterCodecNet(config))))
    value = style.prepare(beat_loop(100.0, 1.0), context())
    condition = style.encode([value, None], context())
    assert condition.values.shape == (2, 1, 16)
    assert condition.mask.tolist() == [[True], [False]]
    assert float(condition.values[0, 0, 8:].min()) > 0.0  # deviations
    with pytest.raises(ConditionError, match="at least"):
        style.prepare(Waveform(np.zeros(100, dtype=np.float32), RATE), context())


def test_without_a_style_the_prompts_own_holds() -> None:
    config = StarterCodecConfig(codebook_size=16, latent_width=8, fast_width=16, slow_width=16)
    codec = StarterCodec(StarterCodecNet(config))
    style = StarterStyle(setup("style", 16, codec))
    codes = torch.randint(16, (4, 400), generator=torch.Generator().manual_seed(0))
    heard = style.prepare(None, context(prompt_codes=codes))
    torch.testing.assert_close(heard, style_summary(codec.decode_latent(codes[None, :, -150:]).transpose(1, 2)))
    given = style.prepare(beat_loop(100.0, 1.0), context(prompt_codes=codes))
    assert heard is not None and given is not None and not torch.allclose(heard, given)
    for silent in (style.prepare("off", context(prompt_codes=codes)), style.prepare(None, context()),
                   style.prepare(None, context(prompt_codes=codes[:, :5]))):
        assert silent is None
