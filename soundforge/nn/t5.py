"""The T5 text encoder with its tokenizer: text to hidden states, as the conditioner of MusicGen uses it.

The encoder network is transformers' own; it is built without storage and takes its tensors over, always in
float32 (in half precision T5 overflows). The tokenizer is read from the model's folder.

Threading: not thread-safe; the engine calls a conditioner from one thread at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from soundforge.errors import CheckpointError

_END = 1
_PAD = 0
# Weights of the other half of a full T5, which text conditioning never runs.
_UNUSED = ("decoder.", "lm_head.")


class Tokenizer(Protocol):
    """Text to token ids, the end token `</s>` included."""

    def __call__(self, text: str) -> list[int]: ...


class _SentencePiece:
    def __init__(self, path: Path) -> None:
        import sentencepiece

        try:
            self._model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        except (RuntimeError, OSError, ValueError) as error:
            raise CheckpointError(f"{path} is not a readable SentencePiece model") from error

    def __call__(self, text: str) -> list[int]:
        return [*map(int, self._model.encode(text)), _END]


class _TransformersTokenizer:
    def __init__(self, folder: Path) -> None:
        from transformers import T5TokenizerFast  # by name: the automatic one also interprets the model's config

        try:
            self._tokenizer = T5TokenizerFast.from_pretrained(str(folder), local_files_only=True)
        except Exception as error:  # the builders raise whatever a broken file makes them stumble over
            first = next(iter(str(error).splitlines()), "")
            raise CheckpointError(f"the tokenizer in {folder} cannot be read: {first[:160]}") from error

    def __call__(self, text: str) -> list[int]:
        ids = [int(token) for token in self._tokenizer(text)["input_ids"]]
        return ids if ids and ids[-1] == _END else [*ids, _END]


def load_tokenizer(folder: Path, *, prefer_sentencepiece: bool = True) -> Tokenizer:
    """The tokenizer of a T5 folder.

    Args:
        folder: holds `spiece.model` or `tokenizer.json`.
        prefer_sentencepiece: which of the two to take when both are there. AudioCraft reads `spiece.model`
            itself, with the normaliser that is stored in it; transformers takes its own `tokenizer.json`.

    Raises:
        CheckpointError: neither is there, or it cannot be read.
    """
    pieces, own = folder / "spiece.model", folder / "tokenizer.json"
    if pieces.is_file() and (prefer_sentencepiece or not own.is_file()):
        return _SentencePiece(pieces)
    if own.is_file():
        return _TransformersTokenizer(folder)
    raise CheckpointError(f"{folder} holds no tokenizer; expected spiece.model or tokenizer.json")


class T5TextEncoder:
    """Text to T5's last hidden state.

    Args:
        config: T5's `config.json` as a dict.
        tensors: weights of the encoder; names as in transformers' `T5EncoderModel` or `T5Model`.
        tokenizer: see `load_tokenizer`.
        source: file or model name, for errors.
        device: torch device.

    Raises:
        CheckpointError: the configuration is not a T5's, or tensors are missing, surplus or misshapen.
    """

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor], tokenizer: Tokenizer, *,
                 source: str, device: torch.device | str = "cpu") -> None:
        self._tokenizer = tokenizer
        self._model = _build_t5(config, tensors, source).to(device)
        self._device = torch.device(device)
        self._n_tokens = int(self._model.config.vocab_size)
        self._source = source

    @property
    def width(self) -> int:
        """Width of the hidden states."""
        return int(self._model.config.d_model)

    def tokenize(self, text: str) -> list[int]:
        """Token ids of one text, `</s>` included; raises `CheckpointError` when the vocabulary does not fit."""
        ids = self._tokenizer(text)
        if max(ids) >= self._n_tokens:
            raise CheckpointError(f"{self._source}: the tokenizer gives token {max(ids)}, but the text encoder has "
                                  f"{self._n_tokens} embeddings; the two files do not belong together")
        return ids

    @torch.inference_mode()
    def encode(self, rows: Sequence[Sequence[int] | None]) -> tuple[Tensor, Tensor]:
        """Hidden states of a batch, padded together.

        Args:
            rows: token ids per item; None is the null text: `</s>` alone, with nothing in its mask.

        Returns:
            Hidden states `[B, L, width]` float32 and mask `[B, L]` bool, L the longest item. A null row has
            (finite) hidden states that its mask declares void.
        """
        ids = [[_END] if row is None else list(row) for row in rows]
        longest = max(len(row) for row in ids)
        tokens = torch.full((len(ids), longest), _PAD, dtype=torch.int64)
        mask = torch.zeros((len(ids), longest), dtype=torch.int64)
        for index, row in enumerate(ids):
            tokens[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = int(rows[index] is not None)
        tokens, mask = tokens.to(self._device), mask.to(self._device)
        with torch.autocast(self._device.type, enabled=False):
            hidden: Tensor = self._model(input_ids=tokens, attention_mask=mask).last_hidden_state
        return hidden, mask.bool()


def _build_t5(config: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str) -> Any:
    from transformers import T5Config, T5EncoderModel

    if config.get("model_type", "t5") != "t5":
        raise CheckpointError(f"{source} is a {config['model_type']!r} text encoder, expected T5")
    try:
        t5_config = T5Config(**{name: value for name, value in config.items() if name != "dtype"})
        # Written out rather than fused: an all-zero mask gives uniform attention here, NaN in some fused kernels.
        t5_config._attn_implementation = "eager"
        with torch.device("meta"):
            model = T5EncoderModel(t5_config).eval().requires_grad_(False)
    except Exception as error:  # versions of transformers differ in how they say that an entry is wrong
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(f"{source}: not a usable T5 configuration: {reason}") from error
    state = {name: tensor.float() for name, tensor in tensors.items() if not name.startswith(_UNUSED)}
    shared = state.get("shared.weight", state.get("encoder.embed_tokens.weight"))
    if shared is not None:
        state["shared.weight"] = state["encoder.embed_tokens.weight"] = shared
    expected = model.state_dict()
    faults = [f"missing {name}" for name in expected if name not in state]
    faults += [f"surplus {name}" for name in state if name not in expected]
    faults += [f"misshapen {name} (expected {list(expected[name].shape)}, found {list(state[name].shape)})"
               for name in expected if name in state and expected[name].shape != state[name].shape]
    if faults:
        more = f" and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise CheckpointError(f"{source} does not fit the T5 encoder: {', '.join(faults[:20])}{more}")
    model.load_state_dict(state, assign=True)
    return model
