"""MERT features (m-a-p/MERT-v1-95M): a HuBERT network trained on music, 24 kHz mono to 75 frames a second.

The published model asks to run code of its own from the hub. None is needed: in the published configuration it
is transformers' HuBERT with other weights, so that is what is built, and nothing downloaded is executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from soundforge.errors import CheckpointError

HUB_NAME = "m-a-p/MERT-v1-95M"
SAMPLE_RATE = 24000
FRAME_RATE_HZ = 75.0

# What MERT adds to HuBERT's configuration, and the only values with which it is HuBERT.
_PLAIN = {"feature_extractor_cqt": False, "deepnorm": False, "attention_relax": -1.0}


class MertFeatures:
    """Waveform to MERT's last hidden state.

    Args:
        config: the published `config.json` as a dict.
        tensors: weights, names as published.
        source: for errors.
        device: torch device.

    Raises:
        CheckpointError: a variant of MERT that is not plain HuBERT, or tensors that do not fit.
    """

    def __init__(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor], *, source: str,
                 device: torch.device | str = "cpu") -> None:
        self._model = _build(config, tensors, source).to(device)
        self.width = int(self._model.config.hidden_size)

    @torch.inference_mode()
    def __call__(self, wave: Tensor) -> Tensor:
        """Mono 24 kHz `[B, T]` (T at least 400) to `[B, L, width]`; L is about T / 320."""
        hidden: Tensor = self._model(wave).last_hidden_state
        return hidden


def _build(config: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str) -> Any:
    from transformers import HubertConfig, HubertModel

    for name, plain in _PLAIN.items():
        if config.get(name, plain) != plain:
            raise CheckpointError(f"{source}: {name} is {config[name]!r}, expected {plain!r}; "
                                  "of the MERT models only MERT-v1-95M is known here")
    skipped = {"model_type", "architectures", "auto_map", "dtype", "torch_dtype", "transformers_version",
               "_name_or_path", "sample_rate", "feature_extractor_cqt_bins", *_PLAIN}
    settings = {name: value for name, value in config.items() if name not in skipped}
    # Masking of features is for training; a mask tensor that the file may lack is not asked for then.
    settings |= {"apply_spec_augment": False, "mask_time_prob": 0.0, "mask_feature_prob": 0.0}
    try:
        hubert = HubertConfig(**settings)
        hubert._attn_implementation = "eager"
        with torch.device("meta"):
            model = HubertModel(hubert).eval().requires_grad_(False)
    except Exception as error:  # versions of transformers differ in how they say that an entry is wrong
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(f"{source}: not a usable MERT configuration: {reason}") from error
    expected = model.state_dict()
    state = _fitted(tensors, expected)
    faults = [name for name in expected if name not in state or state[name].shape != expected[name].shape]
    if faults:
        raise CheckpointError(f"{source} does not fit MERT: {len(faults)} tensors missing or misshapen: "
                              f"{', '.join(faults[:20])}")
    model.load_state_dict(state, assign=True)
    return model


def _fitted(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names as the installed transformers has them: weight norm is spelt in two ways, training heads dropped."""
    renamed = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("hubert.").removeprefix("model.")
        if name not in expected:
            name = name.replace("conv.weight_g", "conv.parametrizations.weight.original0")
            name = name.replace("conv.weight_v", "conv.parametrizations.weight.original1")
        if name in expected:
            renamed[name] = tensor.float()
    return renamed
