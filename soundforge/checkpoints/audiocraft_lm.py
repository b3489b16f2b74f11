"""AudioCraft's language model: `xp.cfg` and tensor names to ours.

AudioCraft can be configured into many networks; all published MusicGen and AudioGen checkpoints are one and the
same. Whatever departs from it is refused by name here, because it would load and sound wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from soundforge.checkpoints.parts import make_lm_config
from soundforge.errors import CheckpointError
from soundforge.nn.language_model import LanguageModelConfig

CONDITIONERS = "condition_provider.conditioners."

# Setting -> the values with which it is the published network. An absent setting has the published value.
_PUBLISHED: dict[str, tuple[Any, ...]] = {
    "activation": ("gelu",),
    "norm_first": (True,),
    "norm": ("layer_norm",),
    "causal": (True,),
    "past_context": (None,),
    "layer_scale": (None,),
    "positional_embedding": ("sin",),
    "xpos": (False, None),
    "qk_layer_norm": (False, None),
    "qk_layer_norm_cross": (False, None),
    "kv_repeat": (1, None),
}

_LAYER_NAMES = (
    (re.compile(r"^transformer\.layers\.(\d+)\.self_attn\.(?:mha\.)?in_proj_(weight|bias)$"),
     r"layers.\1.self_attn.in_proj.\2"),
    (re.compile(r"^transformer\.layers\.(\d+)\.self_attn\.(?:mha\.)?out_proj\.(weight|bias)$"),
     r"layers.\1.self_attn.out_proj.\2"),
    (re.compile(r"^transformer\.layers\.(\d+)\.cross_attention\.(?:mha\.)?out_proj\.(weight|bias)$"),
     r"layers.\1.cross_attn.out_proj.\2"),
    (re.compile(r"^transformer\.layers\.(\d+)\.(norm1|norm2|norm_cross|linear1|linear2)\.(weight|bias)$"),
     r"layers.\1.\2.\3"),
    (re.compile(r"^linears\.(\d+)\.(weight|bias)$"), r"heads.\1.\2"),
    (re.compile(r"^(emb\.\d+\.weight|out_norm\.(?:weight|bias))$"), r"\1"),
)
_CROSS_INPUT = re.compile(r"^transformer\.layers\.(\d+)\.cross_attention\.(?:mha\.)?in_proj_(weight|bias)$")


def setting(config: Mapping[str, Any], path: str, kind: type | tuple[type, ...], source: str) -> Any:
    """The entry `a.b.c` of a nested configuration; raises `CheckpointError` when it is absent or of another type."""
    node: Any = config
    for key in path.split("."):
        if not isinstance(node, Mapping) or key not in node:
            raise CheckpointError(f"{source}: the configuration has no {path!r}")
        node = node[key]
    if not isinstance(node, kind) or (isinstance(node, bool) and kind is not bool):
        raise CheckpointError(f"{source}: {path} is {node!r}, which is not usable")
    return node


def optional(config: Mapping[str, Any], path: str, default: Any = None) -> Any:
    """The entry `a.b.c` of a nested configuration, `default` when it is absent or null."""
    node: Any = config
    for key in path.split("."):
        if not isinstance(node, Mapping) or key not in node:
            return default
        node = node[key]
    return default if node is None else node


def lm_config(config: Mapping[str, Any], source: str) -> LanguageModelConfig:
    """The network that `xp.cfg` describes.

    Raises:
        CheckpointError: a setting is missing, or makes another network than the published one.
    """
    kind = config.get("lm_model")
    if kind != "transformer_lm":
        raise CheckpointError(f"{source} holds a {kind!r}, expected MusicGen's or AudioGen's 'transformer_lm'")
    network = setting(config, "transformer_lm", dict, source)
    for name, published in _PUBLISHED.items():
        if name in network and network[name] not in published:
            raise CheckpointError(f"{source}: transformer_lm.{name} is {network[name]!r}; only "
                                  f"{published[0]!r}, as in the published checkpoints, is supported")
    if optional(config, "fuser.cross_attention_pos_emb", False):
        raise CheckpointError(f"{source}: fuser.cross_attention_pos_emb is on, which no published checkpoint uses "
                              "and which is not supported")
    width = setting(network, "dim", int, source)
    scale = optional(network, "hidden_scale", 4)
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 < scale < 1000:
        raise CheckpointError(f"{source}: transformer_lm.hidden_scale is {scale!r}, which is not usable")
    return make_lm_config(
        source,
        d_model=width,
        n_heads=setting(network, "num_heads", int, source),
        n_layers=setting(network, "num_layers", int, source),
        n_codebooks=setting(network, "n_q", int, source),
        card=setting(network, "card", int, source),
        ffn_width=int(width * scale),
        # The reference forces it whenever something is cross-attended, whatever transformer_lm says.
        cross_attention=bool(optional(config, "fuser.cross")) or bool(optional(network, "cross_attention")),
        bias_attention=bool(optional(network, "bias_attn", True)),
        bias_ffn=bool(optional(network, "bias_ff", True)),
        bias_heads=bool(optional(network, "bias_proj", True)),
    )


def delays(config: Mapping[str, Any], n_codebooks: int, source: str) -> tuple[int, ...]:
    """The delay of each codebook in frames; raises `CheckpointError` for patterns that are not delays."""
    pattern = optional(config, "codebooks_pattern", {})
    kind = pattern.get("modeling") or optional(config, "transformer_lm.q_modeling", "delay")
    if kind == "parallel":
        return (0,) * n_codebooks
    if kind != "delay":
        raise CheckpointError(f"{source}: the codebook pattern is {kind!r}; only 'delay' and 'parallel' are supported")
    options = pattern.get("delay") or {}
    if options.get("flatten_first") or options.get("empty_initial"):
        raise CheckpointError(f"{source}: codebooks_pattern.delay has flatten_first or empty_initial, "
                              "which no published checkpoint uses and which is not supported")
    found = options.get("delays")
    listed = list(range(n_codebooks)) if found is None else found
    if (not isinstance(listed, list) or len(listed) != n_codebooks or listed != sorted(listed)
            or not all(isinstance(d, int) and 0 <= d <= 1000 for d in listed)):
        raise CheckpointError(f"{source}: codebooks_pattern.delay.delays is {listed!r}, expected {n_codebooks} "
                              "whole numbers in rising order")
    return tuple(listed)


def audiocraft_names(names: Iterable[str]) -> dict[str, str]:
    """Our tensor names -> AudioCraft's, for messages about its files."""
    shown = {}
    for name in names:
        theirs = re.sub(r"^layers\.(\d+)\.", r"transformer.layers.\1.", name)
        theirs = re.sub(r"^heads\.", "linears.", theirs)
        theirs = re.sub(r"\.cross_attn\.(?:q_proj|kv_proj)\.", ".cross_attention.in_proj_", theirs)
        theirs = theirs.replace(".cross_attn.", ".cross_attention.").replace(".in_proj.", ".in_proj_")
        shown[name] = theirs
    return shown


def lm_tensors(tensors: Mapping[str, Tensor], config: LanguageModelConfig) -> dict[str, Tensor]:
    """AudioCraft's tensors under our names; those of conditioners are left out, unknown ones keep their name.

    Attention is stored fused, under `self_attn` or under `self_attn.mha`, depending on which kernel it was
    trained with. Nothing is copied: the parts of a fused matrix are views.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.startswith(CONDITIONERS):
            continue
        cross = _CROSS_INPUT.match(name)
        if cross and tensor.shape[:1] == (3 * config.d_model,):
            base = f"layers.{cross[1]}.cross_attn."
            renamed[f"{base}q_proj.{cross[2]}"] = tensor[: config.d_model]
            renamed[f"{base}kv_proj.{cross[2]}"] = tensor[config.d_model :]
            continue
        for pattern, ours in _LAYER_NAMES:
            if pattern.match(name):
                name = pattern.sub(ours, name)
                break
        renamed[name] = tensor
    return renamed
