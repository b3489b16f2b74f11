"""Generation inside one window: prefill of the prompt, then one column per step.

A window owns a delayed sequence `[B, K, S]`, part of it known (special tokens, prompt), and the decoder's state for
each pass of its guidance plan. Everything that changes is inside it, so windows of different requests interleave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from soundforge.engine.delay_pattern import UNKNOWN, DelayPattern
from soundforge.engine.fusing import Fuser
from soundforge.engine.guidance import GuidancePlan, plan_guidance
from soundforge.engine.prepared_conditions import PreparedConditions
from soundforge.engine.resident import ResidentSteps
from soundforge.engine.rests import Rests
from soundforge.engine.sampling import UniformStream, is_greedy, sample_tokens
from soundforge.engine.threads import OneThread, StepThreads
from soundforge.nn.kv_cache import DecodeState
from soundforge.nn.language_model import FusedInputs, LanguageModel
from soundforge.requests import SamplingParams


@dataclass(frozen=True)
class Decoder:
    """The parts of a model that a window needs. Thread-safe."""

    lm: LanguageModel
    pattern: DelayPattern
    fuser: Fuser
    frame_rate_hz: float
    threads: int | None = None
    resident: ResidentSteps | None = None
    rests: Rests | None = None

    def step(self, codes: Tensor, state: DecodeState, fused: FusedInputs, sum_at: Tensor | None) -> Tensor:
        """`LanguageModel.step`, as this machine does it best; logits float32 `[B, K, card]`."""
        with StepThreads(self.threads):
            return (self.resident or self.lm).step(codes, state, fused, sum_at).float()


@dataclass
class Pass:
    """Rows that run through the network together."""

    rows: tuple[int, ...]
    fused: FusedInputs
    state: DecodeState

    def clone(self, capacity: int) -> Pass:
        return Pass(self.rows, self.fused, self.state.clone(self.fused.prefix_length + capacity))


class Window:
    """Generation of up to `n_frames` frames, prompt included. Not thread-safe.

    Args:
        decoder: the model.
        conditions: of the batch.
        sampling: may be changed between steps with `update`.
        weights: guidance by source.
        prompt: codes int64 `[B, K, P]`, P may be 0.
        n_frames: frames of the window, at least P.
        streams: random numbers, one stream per item.
        grow: make room for positions as they are needed, instead of for all of them at once (a capture of unknown
            length; some gigabytes for a large model).
    """

    def __init__(self, decoder: Decoder, conditions: PreparedConditions, sampling: SamplingParams,
                 weights: Mapping[str, float], prompt: Tensor, n_frames: int,
                 streams: Sequence[UniformStream], *, grow: bool = False) -> None:
        self.decoder = decoder
        self.sampling = sampling
        self.weights = dict(weights)
        self.conditions = conditions
        self.streams = list(streams)
        self.n_frames = n_frames
        self.prompt_frames = prompt.shape[-1]
        # A greedy run is the references' run to the last token, special tokens after the end included. A drawn one
        # goes on as if the music did, so that a longer request begins with a shorter one's tokens.
        self.sequence = decoder.pattern.delay(prompt, n_frames, open_tail=not is_greedy(sampling))
        self._known = decoder.pattern.known_positions(self.prompt_frames)
        self._grow = grow
        self._allowed: Tensor | None = None
        self._fed = 0
        self._logits: Tensor | None = None
        self._plan = self._make_plan()
        self.passes = self._make_passes()

    # --- state of affairs -----------------------------------------------------------------------------------

    @property
    def complete_frames(self) -> int:
        """Leading frames whose every codebook is known."""
        generated = self.decoder.pattern.complete_frames(self._known)
        return min(self.n_frames, max(self.prompt_frames, generated))

    @property
    def done(self) -> bool:
        return self.complete_frames >= self.n_frames

    def codes(self, start: int, stop: int) -> Tensor:
        """Complete frames `start` to `stop`, `[B, K, stop - start]`."""
        return self.decoder.pattern.undelay(self.sequence, start, stop)

    @property
    def known(self) -> int:
        """Columns of the delayed sequence that are known; all but perhaps the last were fed."""
        return self._known

    @property
    def nbytes(self) -> int:
        """Bytes of the decoder's state."""
        return sum(p.state.nbytes for p in self.passes)

    # --- running --------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def prefill(self) -> None:
        """Run all known columns through the network that have not been yet; `step` does so by itself."""
        if self._fed < self._known and self._fed < self.sequence.shape[-1] - 1:
            self._feed(min(self._known, self.sequence.shape[-1] - 1))

    @torch.inference_mode()
    def step(self) -> None:
        """One more column. Does nothing when the window is done."""
        if self.done:
            return
        with OneThread():
            self.prefill()
            assert self._logits is not None
            uniforms = torch.stack([stream.next() for stream in self.streams])
            drawn = sample_tokens(self._bounded(self._logits), self.sampling, uniforms.to(self._logits.device))
            column = self.sequence[:, :, self._known]
            self.sequence[:, :, self._known] = torch.where(column == UNKNOWN, drawn, column)
            self._known += 1

    def _bounded(self, logits: Tensor) -> Tensor:
        """The logits, without silence where the model has rested long enough."""
        rests, begin = self.decoder.rests, self.decoder.pattern.delays[0] + 1
        if rests is None:
            return logits
        past = self.sequence[:, 0, begin:self._known]
        if self._allowed is None:
            self._allowed = rests.allowed(past[:, :self.prompt_frames])
        return rests.bound(logits, past, self.prompt_frames == 0, self._allowed)

    def guided_logits(self) -> Tensor:
        """Merged logits `[B, K, card]` for the next column (after `prefill`)."""
        self.prefill()
        assert self._logits is not None
        return self._logits

    def _feed(self, stop: int) -> None:
        logits = []
        for part, (columns, sum_at) in zip(self.passes, self.inputs(stop), strict=True):
            self._make_room(part, stop)
            logits.append(self.decoder.step(columns, part.state, part.fused, sum_at))
        self.take(logits, stop)

    def inputs(self, stop: int) -> list[tuple[Tensor, Tensor | None]]:
        """What the network is fed next, up to column `stop`: per pass `[rows * B, K, n]` and what is added to it."""
        columns = self.sequence[:, :, self._fed:stop]
        return [(columns if len(part.rows) == 1 else columns.repeat(len(part.rows), 1, 1),
                 None if part.fused.sum is None else part.fused.sum[:, self._fed:stop]) for part in self.passes]

    def take(self, logits: Sequence[Tensor], stop: int) -> None:
        """What the network made of `inputs(stop)`: per pass `[rows * B, K, card]`."""
        self._fed = stop
        stacked = logits[0] if len(logits) == 1 else torch.cat(list(logits))
        if len(self._plan.rows) > 1:
            self._logits = self._plan.merge(stacked.view(len(self._plan.rows), -1, *stacked.shape[1:]))
        else:
            self._logits = stacked

    def _make_room(self, part: Pass, stop: int) -> None:
        needed = part.fused.prefix_length + stop
        if needed > part.state.capacity:
            full = part.fused.prefix_length + self.sequence.shape[-1]
            part.state = part.state.clone(min(full, 2 * needed))

    # --- prompt and forks -----------------------------------------------------------------------------------

    def extend_prompt(self, codes: Tensor) -> None:
        """More prompt `[B, K, n]`, while nothing was generated yet; prefilled at once.

        Raises:
            ValueError: it does not fit, or generation has begun.
        """
        n = codes.shape[-1]
        if self._known != self.decoder.pattern.known_positions(self.prompt_frames):
            raise ValueError("a prompt was extended after its continuation had begun; extend it before")
        if self.prompt_frames + n > self.n_frames:
            raise ValueError(f"{self.prompt_frames + n} frames of prompt came, the window holds {self.n_frames}")
        for book, delay in enumerate(self.decoder.pattern.delays):
            start = delay + 1 + self.prompt_frames
            self.sequence[:, book, start:start + n] = codes[:, book]
        self.prompt_frames += n
        self._known += n
        self.prefill()

    @torch.inference_mode()
    def fork(self, n_frames: int, streams: Sequence[UniformStream], sampling: SamplingParams,
             weights: Mapping[str, float]) -> Window:
        """A window of its own with the same prompt, already prefilled; this one is not changed.

        Args:
            n_frames: prompt included.
        """
        self.prefill()
        other = object.__new__(Window)
        other.decoder, other.conditions = self.decoder, self.conditions
        other.sampling, other.weights = sampling, dict(weights)
        other.streams, other.n_frames, other.prompt_frames = list(streams), n_frames, self.prompt_frames
        prompt = self.codes(0, self.prompt_frames)
        other.sequence = self.decoder.pattern.delay(prompt, n_frames, open_tail=not is_greedy(sampling))
        other._known, other._fed, other._logits, other._grow = self._known, self._fed, self._logits, False
        other._allowed = None
        other._plan = other._make_plan()
        if other._plan.layout == self._plan.layout:
            other.passes = [p.clone(other.sequence.shape[-1]) for p in self.passes]
            if other._plan != self._plan:
                other._refeed_last()
        else:
            other.passes = other._make_passes()
            other._fed, other._logits = 0, None
        return other

    # --- changes between steps ------------------------------------------------------------------------------

    @torch.inference_mode()
    def update(self, *, sampling: SamplingParams | None = None, weights: Mapping[str, float] | None = None,
               conditions: PreparedConditions | None = None) -> None:
        """Change parameters or conditions from the next step on.

        A changed condition that is attended to or summed enters with the next column that is fed; what was heard so
        far stays as it was understood. One that stands in front of the sequence, or a change that needs other rows
        (guidance switched on), runs the sequence so far through the network again.

        Raises:
            ConditionError, RequestError: weights that cannot be; nothing is changed then.
        """
        old, before = self._plan, (self.sampling, self.weights, self.conditions)
        self.sampling = sampling or self.sampling
        self.weights = self.weights if weights is None else dict(weights)
        self.conditions = conditions or self.conditions
        try:
            self._plan = self._make_plan()
            same_rows = old.layout == self._plan.layout
            changed = [] if conditions is None or not same_rows else [self._fuse(part.rows) for part in self.passes]
            passes = None if same_rows else self._make_passes()
        except Exception:
            (self.sampling, self.weights, self.conditions), self._plan = before, old
            raise
        if same_rows and conditions is None:
            if old != self._plan and self._logits is not None:
                self._refeed_last()
            return
        pairs = list(zip(changed, self.passes, strict=True)) if same_rows else []
        if pairs and all(_enters(new, part.fused) for new, part in pairs):
            for new, part in pairs:
                part.fused = new
                self.decoder.lm.set_cross(part.state, new)
            return
        self.passes = passes or self._make_passes()
        fed, self._fed = self._fed, 0
        if fed:
            self._feed(fed)

    def _refeed_last(self) -> None:
        """Merge anew with other weights: the last column once more, for its logits by row."""
        if self._fed == 0:
            return
        for part in self.passes:
            part.state.position -= 1
        self._fed -= 1
        if self._fed == 0:
            # The prefix was run together with this column; it must be again.
            for part in self.passes:
                part.state.reset()
        self._feed(self._fed + 1)

    # --- making ---------------------------------------------------------------------------------------------

    def _make_plan(self) -> GuidancePlan:
        names = [slot.name for slot in self.conditions.slots]
        weights = self.conditions.usual_weights(self.sampling) | self.conditions.by_slot(self.weights)
        return plan_guidance(self.conditions.active, self.sampling, weights, names, self.conditions.unguided)

    def _fuse(self, rows: tuple[int, ...]) -> FusedInputs:
        features = self.conditions.encode([self._plan.rows[r] for r in rows])
        return self.decoder.fuser.fuse(features, self.sequence.shape[-1], self.decoder.frame_rate_hz,
                                       self.conditions.slots, self.conditions.projections)

    @torch.inference_mode()
    def _make_passes(self) -> list[Pass]:
        batch = self.sequence.shape[0]
        out = []
        for rows in self._plan.passes:
            fused = self._fuse(rows)
            columns = min(2 * self._known, self.sequence.shape[-1]) if self._grow else self.sequence.shape[-1]
            capacity = fused.prefix_length + columns
            out.append(Pass(rows, fused, self.decoder.lm.new_state(len(rows) * batch, capacity, fused)))
        return out


def _enters(new: FusedInputs, old: FusedInputs) -> bool:
    """Whether changed inputs can take effect with the next column: nothing new in front, and the same ways in."""
    ways = [(part.cross is None, part.sum is None) for part in (new, old)]
    return _same(new.prepend, old.prepend) and ways[0] == ways[1]


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.shape == b.shape and torch.equal(a, b)
