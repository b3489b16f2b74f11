"""Keywords of `generate`, `extend` and `stream` to frozen requests, one per item of the batch."""

from __future__ import annotations

import difflib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from soundforge.errors import ConditionError, RequestError
from soundforge.requests import MAX_BPM, MIN_BPM, GenerateRequest, SamplingParams

_SAMPLING = tuple(f.name for f in fields(SamplingParams))
_REQUEST = tuple(f.name for f in fields(GenerateRequest) if f.name not in ("text", "sampling", "conditions"))
Text = str | Sequence[str | None] | None


def build_requests(text: Text, keywords: Mapping[str, Any], defaults: Mapping[str, Any],
                   batch: int | None = None) -> list[GenerateRequest]:
    """One request per text.

    A keyword that is None means "not given". What is not given comes from the model's `defaults`, then from the
    request's own. A condition whose value is a list has one value (or None) per item.

    Args:
        text: one text or a list of texts.
        keywords: as in the contract; `conditions` by name.
        defaults: of the model.
        batch: items that the prompt demands, or None; one text then serves all.

    Raises:
        RequestError: an unknown keyword, an empty list, values out of range.
        ConditionError: a list of another length than the batch.
    """
    given = {name: value for name, value in keywords.items() if value is not None}
    for name in given:
        if name not in (*_SAMPLING, *_REQUEST, "sampling", "conditions"):
            near = difflib.get_close_matches(name, (*_SAMPLING, *_REQUEST, "conditions"), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise RequestError(f"unknown keyword {name!r}{hint}")
    texts = _texts(text, given.get("conditions", {}), batch)
    merged = {**{name: value for name, value in defaults.items() if name in (*_SAMPLING, *_REQUEST)}, **given}
    if "top_k" in given and "top_p" not in given:
        merged.pop("top_p", None)  # it would win, and the k that was asked for would say nothing
    if "bars" in given:
        if "seconds" in given:
            raise RequestError("seconds and bars were both given; choose one")
        merged.pop("seconds", None)
    sampling = given.get("sampling") or SamplingParams(**{n: merged[n] for n in _SAMPLING if n in merged})
    request = GenerateRequest(sampling=sampling, **{n: merged[n] for n in _REQUEST if n in merged})
    seed = request.seed if request.seed is not None else secrets.randbits(31)
    conditions = given.get("conditions", {})
    return [replace(request, text=item or None, seed=seed + index,
                    conditions=_conditions_of(conditions, index, len(texts)))
            for index, item in enumerate(texts)]


def with_tempo(keywords: Mapping[str, Any], prompt_bpm: float | None) -> Mapping[str, Any]:
    """The keywords, with the prompt's tempo where they name none."""
    if keywords.get("bpm") is not None or prompt_bpm is None or not MIN_BPM <= prompt_bpm <= MAX_BPM:
        return keywords
    return {**keywords, "bpm": prompt_bpm}


def fill_request(request: GenerateRequest) -> GenerateRequest:
    """The request with a seed."""
    return request if request.seed is not None else request.with_seed(secrets.randbits(31))


def check_progress(progress: object) -> None:
    """Raise RequestError for what cannot be called."""
    if progress is not None and not callable(progress):
        raise RequestError(f"progress came as {type(progress).__name__}, expected a function of (frames done, frames "
                           "wanted)")


def _texts(text: Text, conditions: Any, batch: int | None) -> list[str | None]:
    if not isinstance(conditions, Mapping):
        raise ConditionError(f"conditions came as {type(conditions).__name__}, expected a mapping such as "
                             "{'chroma': waveform}")
    if text is None or isinstance(text, str):
        lengths = {len(value) for value in conditions.values() if _is_per_item(value)}
        return [text] * (batch or (lengths.pop() if len(lengths) == 1 else 1))
    if not isinstance(text, Sequence) or any(t is not None and not isinstance(t, str) for t in text):
        raise RequestError(f"text came as {type(text).__name__}, expected a string, None, or a list of these")
    texts = list(text)
    if not texts:
        raise RequestError("an empty list of texts came, expected at least one")
    if batch is not None and batch not in (1, len(texts)):
        raise RequestError(f"{len(texts)} texts came with {batch} prompts, expected as many, or one of either")
    return texts


def _conditions_of(conditions: Mapping[str, Any], index: int, batch: int) -> dict[str, Any]:
    """This item's values; lists are per item."""
    out: dict[str, Any] = {}
    for name, value in conditions.items():
        if _is_per_item(value) and batch > 1:
            if len(value) != batch:
                raise ConditionError(f"condition {name!r} came as a list of {len(value)}, expected one value (or None) "
                                     f"for each of the {batch} items")
            value = value[index]
        elif _is_per_item(value) and len(value) == 1:
            value = value[0]
        if value is not None:
            out[name] = value
    return out


def _is_per_item(value: Any) -> bool:
    """A list has one value per item; chords with their times, as tuples or as JSON has them, are one value."""
    return isinstance(value, list) and not (value and all(_is_timed(item) for item in value))


def _is_timed(item: Any) -> bool:
    """Whether it is a tuple, or a pair of a name and a time in a list."""
    return isinstance(item, tuple) or (isinstance(item, list) and len(item) == 2 and isinstance(item[0], str)
                                       and isinstance(item[1], (int, float)))


def is_single(text: Text, requests: Sequence[GenerateRequest]) -> bool:
    """Whether one clip is given back, not a list."""
    return len(requests) == 1 and (text is None or isinstance(text, str))


def check_alike(requests: Sequence[GenerateRequest]) -> None:
    """Requests of one batch may differ in text, conditions and seed only; raises RequestError."""
    if not requests:
        raise RequestError("no requests came, expected at least one")

    def bare(request: GenerateRequest) -> GenerateRequest:
        return replace(request, text=None, conditions={}, condition_options={}, seed=0, tags={}, noise=None)

    if any(bare(request) != bare(requests[0]) for request in requests[1:]):
        raise RequestError("requests of one batch came with different lengths or sampling; run them one by one")
