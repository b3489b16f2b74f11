"""A loaded decoder LM as the engine runs it: network, codec, conditioners, and the numbers that follow from them."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from soundforge.audio import Waveform
from soundforge.engine.conditions import ConditionBank, FindConditioner
from soundforge.engine.delay_pattern import DelayPattern
from soundforge.engine.fusing import Fuser
from soundforge.engine.prepared_conditions import PreparedConditions
from soundforge.engine.resident import ResidentSteps
from soundforge.engine.rests import Rests
from soundforge.engine.threads import threads_for
from soundforge.engine.window import Decoder
from soundforge.errors import CheckpointError, RequestError
from soundforge.interfaces import Codec, ConditionContext, LanguageModelParts
from soundforge.nn.language_model import LanguageModel
from soundforge.requests import GenerateRequest


class LanguageModelRuntime:
    """What all generations of one model share. Thread-safe; conditioners run under `lock`.

    Args:
        parts: from the model family.
        find: conditioners by name, see `soundforge.engine.conditions.FindConditioner`.

    Raises:
        CheckpointError: the parts do not fit together.
    """

    def __init__(self, parts: LanguageModelParts, find: FindConditioner) -> None:
        lm = parts.lm
        if not isinstance(lm, LanguageModel):
            raise CheckpointError(f"model {parts.name!r} came with a {type(lm).__name__}, "
                                  "expected a soundforge.nn.language_model.LanguageModel")
        if len(parts.delays) != lm.config.n_codebooks or parts.codec.n_codebooks < lm.config.n_codebooks:
            raise CheckpointError(f"model {parts.name!r} has {lm.config.n_codebooks} codebooks, {len(parts.delays)} "
                                  f"delays and a codec of {parts.codec.n_codebooks} codebooks; they must agree")
        lm.eval().requires_grad_(False)
        weight = lm.out_norm.weight
        nbytes = sum(tensor.nbytes for tensor in (*lm.parameters(), *lm.buffers()))
        lm.prepare_for_steps()
        self.parts = parts
        self.name = parts.name
        self.codec: Codec = parts.codec
        self.device = weight.device
        pattern = DelayPattern(parts.delays, lm.config.special_token)
        fuser = Fuser(parts.slots, lm.config.d_model, mask_cross=parts.layout == "transformers",
                      device=weight.device, dtype=torch.float32)
        self.decoder = Decoder(lm, pattern, fuser, parts.codec.frame_rate_hz, threads_for(nbytes, weight.device),
                               ResidentSteps(lm) if ResidentSteps.suits(lm) else None, self._rests(lm))
        self.conditions = ConditionBank(parts.name, [s.slot for s in parts.slots], find, pattern.max_delay)
        self.lock = threading.RLock()

    def _rests(self, lm: LanguageModel) -> Rests | None:
        limits, card = self.parts.rests, lm.config.card
        if limits is None:
            return None
        if not all(0 <= code < card for code in limits.codes) or len(set(limits.codes)) >= card:
            raise CheckpointError(f"model {self.name!r} has silent codes beyond its {card} entries, or nothing else")
        return Rests(limits, card, self.codec.frame_rate_hz, self.device)

    @property
    def n_codebooks(self) -> int:
        return self.decoder.lm.config.n_codebooks

    def frames(self, seconds: float) -> int:
        """Whole frames in `seconds`; the small term mends products such as 0.58 * 50 = 28.999..."""
        return int(seconds * self.codec.frame_rate_hz + 1e-6)

    def window_and_stride(self, request: GenerateRequest) -> tuple[float, int, int]:
        """Seconds and frames of a window, and frames of a stride, from the request or the checkpoint.

        Raises:
            RequestError: a window that is longer than the checkpoint's, or a stride that is not shorter.
        """
        own = self.parts.window_seconds
        seconds = own if request.window_seconds is None else request.window_seconds
        # A checkpoint's window may be overridden upwards only by its own declaration.
        if not 0 < seconds <= own + 1e-9:
            raise RequestError(f"window_seconds came as {seconds:g}, expected above 0 and at most {own:g}, "
                               f"the window of {self.name!r}")
        stride_seconds = request.stride_seconds
        if stride_seconds is None:
            stride_seconds = self.parts.stride_seconds
            if stride_seconds >= seconds:
                stride_seconds = seconds * min(0.6, self.parts.stride_seconds / own)
        # Cut off without `frames`' small term, as in the reference: the numbers decide where windows begin.
        rate = self.codec.frame_rate_hz
        window, stride = int(seconds * rate), int(rate * stride_seconds)
        if not 1 <= stride < window:
            raise RequestError(f"stride_seconds came as {stride_seconds:g}, expected at least one frame and less than "
                               f"the window of {seconds:g} s")
        return seconds, window, stride

    def prepare(self, values: Sequence[dict[str, object]], requests: Sequence[GenerateRequest], *, n_frames: int,
                prompt_frames: int, first_new_seconds: float, prompt: Waveform | None,
                window_start_frames: int | None, window_seconds: float, new_start_frames: int | None = None,
                previous: PreparedConditions | None = None, changed: Collection[str] | None = None,
                prompt_codes: Tensor | None = None) -> PreparedConditions:
        """Conditions of a window, for one batch.

        Args:
            values: per item, by condition name.
            n_frames: of the window.
            prompt_frames: of these, frames that are prompt.
            first_new_seconds: time of the window's first new frame, counted from the start of the request's new
                audio.
            prompt: audio of the prompt, or None.
            window_start_frames, window_seconds, new_start_frames: see `ConditionContext`.
            previous: conditions of the window before, of which what does not change is kept.
            changed: `previous` is of this very window; the conditions of these names are prepared anew.
            prompt_codes: of the prompt, `[B, K, n]`; None or no frames = no prompt.
        """
        codes: Sequence[Tensor | None] = [None] * len(requests)
        if prompt_codes is not None and prompt_codes.shape[-1] > 0:
            codes = list(prompt_codes)
        contexts = [
            ConditionContext(
                sample_rate=self.codec.sample_rate, frame_rate_hz=self.codec.frame_rate_hz, n_frames=n_frames,
                prompt_frames=prompt_frames, prompt=prompt, prompt_codes=known, bpm=request.bpm,
                beats_per_bar=request.beats_per_bar, start_beat=start_beat(request, prompt, first_new_seconds),
                seed=request.seed or 0, device=str(self.device), window_start_frames=window_start_frames,
                window_seconds=window_seconds, new_start_frames=new_start_frames)
            for request, known in zip(requests, codes, strict=True)]
        with self.lock, torch.inference_mode():
            return self.conditions.prepare(values, contexts, [r.condition_options for r in requests],
                                           previous, changed)


def start_beat(request: GenerateRequest, prompt: Waveform | None, first_new_seconds: float) -> float | None:
    """Beat of a window's first new frame: from the tag `start_beat` (live), else counted from the prompt's start."""
    if request.bpm is None:
        return None
    tag = request.tags.get("start_beat")
    beat = float(tag) if tag is not None else (0.0 if prompt is None else prompt.seconds * request.bpm / 60.0)
    return beat + first_new_seconds * request.bpm / 60.0
