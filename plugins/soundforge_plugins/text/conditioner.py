"""The text conditioner: tokenises when a request is prepared, runs T5 on the whole batch when it is encoded.

Guidance passes conditional and null items as ONE batch, so null rows are padded to the longest text: the
padding length is part of the reference's arithmetic where cross-attention is not masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from soundforge.checkpoints.files import read_json, read_tensors
from soundforge.errors import CheckpointError, ConditionError
from soundforge.interfaces import Condition, ConditionContext, ConditionerSetup, Host
from soundforge.nn.t5 import T5TextEncoder, load_tokenizer

# T5 attends over all pairs of tokens; a novel pasted into the prompt must not eat the machine.
MAX_TOKENS = 2048


class TextConditioner:
    """Feeds a text slot from T5 (see `soundforge.interfaces.Conditioner` for the calls).

    Args:
        encoder: the T5 encoder with its tokenizer.
        name: of the slot, for messages.
    """

    def __init__(self, encoder: T5TextEncoder, name: str = "text") -> None:
        self.encoder = encoder
        self._name = name

    def prepare(self, value: Any, context: ConditionContext) -> list[int] | None:
        """Token ids of a text; None for None and "" (and only these: a blank is a description)."""
        if context.options:
            raise ConditionError(f"condition {self._name!r} got option {next(iter(context.options))!r}, "
                                 "but takes none")
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise ConditionError(f"condition {self._name!r} came as {type(value).__name__}, expected text")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ConditionError(f"condition {self._name!r} came with half of a character at {error.start} (a lone "
                                 "surrogate), expected text") from error
        ids = self.encoder.tokenize(value)
        if len(ids) > MAX_TOKENS:
            raise ConditionError(f"condition {self._name!r} came with {len(ids)} tokens, expected at most "
                                 f"{MAX_TOKENS}; shorten the text")
        return ids

    def encode(self, prepared: Sequence[list[int] | None], context: ConditionContext) -> Condition:
        """Hidden states of T5, padded to the longest item; null items are masked throughout."""
        values, mask = self.encoder.encode(prepared)
        return Condition(values, mask)


def make_text_conditioner(host: Host, setup: ConditionerSetup) -> TextConditioner:
    """T5 from, in this order: `text_encoder/` beside the checkpoint, the checkpoint itself, the hub.

    Raises:
        CheckpointError: it cannot be read or has another width than the slot was trained for.
        NotCachedError: it would have to come from the hub and cannot.
    """
    encoder, source = _find_encoder(host, setup)
    if encoder.width != setup.slot.width:
        raise CheckpointError(
            f"slot {setup.slot.name!r} takes features of width {setup.slot.width}, but the text encoder {source} "
            f"gives {encoder.width}; put the T5 it was trained with into text_encoder/"
        )
    return TextConditioner(encoder, setup.slot.name)


def _find_encoder(host: Host, setup: ConditionerSetup) -> tuple[T5TextEncoder, str]:
    pieces_first = setup.layout != "transformers"
    beside = setup.folder / "text_encoder" if setup.folder else None
    if beside is not None and beside.is_dir():
        return _from_folder(beside, setup.device, pieces_first), str(beside)
    if setup.tensors and setup.folder is not None:
        config = setup.config.get("text_encoder")
        if not isinstance(config, dict):
            raise CheckpointError(f"{setup.folder}: the configuration describes no 'text_encoder', "
                                  "but its weights are there")
        tokenizer = load_tokenizer(setup.folder, prefer_sentencepiece=pieces_first)
        source = f"the text encoder inside {setup.folder}"
        return T5TextEncoder(config, setup.tensors, tokenizer, source=source, device=setup.device), source
    name = str(setup.slot.options.get("name", "t5-base"))
    return _from_folder(host.resolve(name), setup.device, pieces_first), name


def _from_folder(folder: Path, device: str, pieces_first: bool) -> T5TextEncoder:
    tokenizer = load_tokenizer(folder, prefer_sentencepiece=pieces_first)
    return T5TextEncoder(read_json(folder / "config.json"), read_tensors(folder), tokenizer,
                         source=str(folder), device=device)
