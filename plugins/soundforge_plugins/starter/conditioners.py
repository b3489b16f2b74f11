"""Conditioners of the starter's four slots; the features themselves are in `soundforge.nn.starter_*`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from soundforge.audio import Waveform
from soundforge.clip import Clip
from soundforge.errors import ConditionError
from soundforge.interfaces import Codec, Condition, ConditionContext, Conditioner, ConditionerSetup
from soundforge.nn import starter_conditions as features
from soundforge.nn.starter_text import StarterTextEncoder, pad_tokens, tokenise
from soundforge.tempo import estimate_tempo

MINIMUM_CONFIDENCE = 0.15


def _waveform(value: Any, name: str) -> Waveform | None:
    if isinstance(value, Clip):
        value = value.as_waveform()
    if value is not None and not isinstance(value, Waveform):
        raise ConditionError(
            f"condition {name!r} came as {type(value).__name__}, expected audio "
            "(a soundforge.Waveform or Clip; soundforge.read(path) gives one)"
        )
    return value


def _first_new_frame(context: ConditionContext, setup: ConditionerSetup) -> int:
    """Frames of prompt at the start of the whole sequence, seen from any of its windows.

    A prompt that leaves no room in the window is cut by the engine to what one stride leaves over.
    """
    if not context.window_start_frames:
        return context.prompt_frames
    if context.prompt is None:
        return 0
    frames = int(context.prompt.seconds * context.frame_rate_hz + 1e-6)
    window = round(context.window_seconds * context.frame_rate_hz)
    if window and frames >= window:
        stride = float(setup.config.get("stride_seconds", context.window_seconds / 2))
        frames = window - round(stride * context.frame_rate_hz)
    return frames


class StarterText:
    """Text to word features."""

    def __init__(self, setup: ConditionerSetup) -> None:
        self.encoder = StarterTextEncoder(setup.slot.width)
        if setup.tensors:
            self.encoder.load_state_dict({name: tensor.float() for name, tensor in setup.tensors.items()})
        self.encoder.eval().requires_grad_(False).to(setup.device)
        self.device = setup.device

    def prepare(self, value: Any, context: ConditionContext) -> list[list[int]] | None:
        """Pieces of each word; a text without any word is the null condition."""
        if value is None:
            return None
        if not isinstance(value, str):
            raise ConditionError(f"condition 'text' came as {type(value).__name__}, expected a description in words")
        return tokenise(value) or None

    def encode(self, prepared: Sequence[list[list[int]] | None], context: ConditionContext) -> Condition:
        """`[B, L, W]`; rows without text are masked."""
        pieces = pad_tokens([words or [] for words in prepared]).to(self.device)
        values, mask = self.encoder(pieces)
        return Condition(values, mask)


@dataclass(frozen=True, slots=True)
class Beat:
    """A tempo and where the bars lie: `beat_at_prompt_end` is 0 on a bar line."""

    bpm: float
    beats_per_bar: int
    beat_at_prompt_end: float


class Transport:
    """Tempo and phase per frame: from the request, else heard in the prompt, else unknown (null)."""

    def __init__(self, setup: ConditionerSetup) -> None:
        self.setup = setup
        self.device = setup.device
        self.width = setup.slot.width

    def prepare(self, value: Any, context: ConditionContext) -> Beat | None:
        """`value` None = automatic; "off" switches it off; a number is a tempo in BPM."""
        if isinstance(value, str) and value.strip().lower() in ("off", "none"):
            return None
        if value is not None:
            try:
                value = float(value)
            except (TypeError, ValueError, OverflowError):
                raise ConditionError(
                    f"condition 'transport' came as {value!r}, expected a tempo in BPM or 'off'"
                ) from None
        bpm = context.bpm if value is None else value
        if bpm is not None:
            if not 20.0 <= bpm <= 400.0:
                raise ConditionError(f"condition 'transport' came with {bpm:g} BPM, expected 20 to 400")
            heard = 0.0 if context.prompt is None else context.prompt.seconds * bpm / 60.0
            start = context.start_beat if context.start_beat is not None else heard
            return Beat(bpm, context.beats_per_bar, start)
        if context.prompt is None or context.prompt.seconds < 1.5:
            return None
        heard_tempo = estimate_tempo(context.prompt.samples.mean(axis=0), context.prompt.sample_rate)
        if heard_tempo.confidence < MINIMUM_CONFIDENCE:
            return None
        beat_seconds = 60.0 / heard_tempo.bpm
        origin = heard_tempo.bar_offset_seconds
        origin = heard_tempo.beat_offset_seconds if origin is None else origin
        # In a later window of a long generation the newest frames are generated music, made after the prompt's end.
        made = (context.window_start_frames or 0) + context.prompt_frames - _first_new_frame(context, self.setup)
        at_end = (context.prompt.seconds + made / context.frame_rate_hz - origin) / beat_seconds
        return Beat(heard_tempo.bpm, context.beats_per_bar, at_end)

    def encode(self, prepared: Sequence[Beat | None], context: ConditionContext) -> Condition:
        """`[B, n_frames, W]`; rows without a tempo are masked."""
        n = max(1, context.n_frames)
        values = torch.zeros(len(prepared), n, self.width)
        mask = torch.zeros(len(prepared), n, dtype=torch.bool)
        frame = (torch.arange(n, dtype=torch.float64) + 0.5 - context.prompt_frames) / context.frame_rate_hz
        for row, beat in enumerate(prepared):
            if beat is None:
                continue
            beats = beat.beat_at_prompt_end + frame * beat.bpm / 60.0
            bpm, per_bar = torch.tensor([beat.bpm]).double(), torch.tensor([float(beat.beats_per_bar)]).double()
            values[row] = features.transport_features(beats[None], bpm, per_bar, bpm / 60.0 / context.frame_rate_hz)[0]
            mask[row] = True
        return Condition(values.to(self.device), mask.to(self.device))


class StarterChroma:
    """Audio to pitch classes per frame, from the first NEW frame on, again and again; prompt frames stay null."""

    def __init__(self, setup: ConditionerSetup) -> None:
        self.setup = setup
        self.device = setup.device

    def prepare(self, value: Any, context: ConditionContext) -> tuple[Tensor, int] | None:
        """Mono samples and their rate."""
        wave = _waveform(value, "chroma")
        if wave is None or wave.n_samples == 0:
            return None
        mono = wave.with_channels(1)
        return torch.from_numpy(mono.samples[0].copy()), mono.sample_rate

    def encode(self, prepared: Sequence[tuple[Tensor, int] | None], context: ConditionContext) -> Condition:
        """`[B, n_frames, 12]`."""
        n = max(1, context.n_frames)
        values = torch.zeros(len(prepared), n, features.CHROMA_WIDTH)
        mask = torch.zeros(len(prepared), n, dtype=torch.bool)
        # Where the audio begins, counted from this window's start: before it (below 0) in later windows.
        begin = _first_new_frame(context, self.setup) - (context.window_start_frames or 0)
        start = max(0, begin)
        for row, item in enumerate(prepared):
            if item is not None and start < n:
                chroma = features.chroma_features(item[0], item[1], n - begin, context.frame_rate_hz)
                values[row, start:] = chroma[start - begin :]
                mask[row, start:] = True
        return Condition(values.to(self.device), mask.to(self.device))


class StarterStyle:
    """The first three seconds of a sound as pooled codec latents, put before the tokens."""

    def __init__(self, setup: ConditionerSetup) -> None:
        if setup.codec is None:
            raise ConditionError("condition 'style' needs the model's codec, which was not given")
        self.codec: Codec = setup.codec
        self.device = setup.device
        self.width = setup.slot.width

    def prepare(self, value: Any, context: ConditionContext) -> Tensor | None:
        """Features `[L, W]`; an excerpt shorter than three seconds is repeated."""
        wave = _waveform(value, "style")
        if wave is None:
            return None
        start = float(context.options.get("excerpt_start_seconds", 0.0))
        rated = wave.with_channels(1).resampled(self.codec.sample_rate)
        rated = rated.slice_samples(int(start * rated.sample_rate))
        if rated.n_samples < self.codec.hop_length * features.STYLE_POOL:
            raise ConditionError(
                f"condition 'style' came with {rated.seconds:.2f} s of audio, expected at least "
                f"{features.STYLE_POOL / self.codec.frame_rate_hz:g} s"
            )
        codes = self.codec.encode(rated).codes
        codes = codes.repeat(1, 1, -(-features.STYLE_FRAMES // codes.shape[2]))[:, :, : features.STYLE_FRAMES]
        return features.style_features(self.codec.decode_latent(codes).transpose(1, 2))[0]

    def encode(self, prepared: Sequence[Tensor | None], context: ConditionContext) -> Condition:
        """`[B, 15, W]`, or nothing at all when no row has a style (then no prefix stands before the tokens)."""
        length = features.STYLE_FRAMES // features.STYLE_POOL if any(p is not None for p in prepared) else 0
        values = torch.zeros(len(prepared), length, self.width)
        mask = torch.zeros(len(prepared), length, dtype=torch.bool)
        for row, item in enumerate(prepared):
            if item is not None:
                values[row], mask[row] = item.cpu(), True
        return Condition(values.to(self.device), mask.to(self.device))


_KINDS: dict[str, Callable[[ConditionerSetup], Conditioner]] = {
    "text": StarterText,
    "transport": Transport,
    "chroma": StarterChroma,
    "style": StarterStyle,
}


def make(kind: str, setup: ConditionerSetup) -> Conditioner:
    """The conditioner of one kind."""
    return _KINDS[kind](setup)
