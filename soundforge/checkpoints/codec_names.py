"""Tensor names of published codec files, and weight normalisation folded into plain weights.

For every tensor of our network this says what the file calls it, so that errors name what the user has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from soundforge.checkpoints.assign import misfit_error
from soundforge.nn.dac import DacConfig
from soundforge.nn.streaming_transposed import StreamConvTranspose1d

# Our name -> the file's name; for the codebooks, which we keep in one tensor, the names of all of them.
Names = Mapping[str, str | Sequence[str]]

# Statistics of codebook training, which inference never reads.
TRAINING_STATE = re.compile(r"quantizer\..*\.(inited|cluster_size|embed_avg)$")


def audiocraft_encodec_names(network: nn.Module, n_codebooks: int) -> Names:
    """`encoder.3.conv.weight` is `encoder.model.3.conv.conv.weight` there, or `convtr.convtr`, or `conv.norm`."""
    transposed = {name for name, module in network.named_modules() if isinstance(module, StreamConvTranspose1d)}

    def rename(owner: str, kind: str, leaf: str) -> str:
        wrapper = "convtr" if owner in transposed else "conv"
        return f"{_under(owner, 'model')}.{wrapper}.{wrapper if kind == 'conv' else 'norm'}.{leaf}"

    books = [f"quantizer.vq.layers.{book}._codebook.embed" for book in range(n_codebooks)]
    return _encodec_names(network, rename, "model", books)


def transformers_encodec_names(network: nn.Module, n_codebooks: int) -> Names:
    """`encoder.3.conv.weight` is `encoder.layers.3.conv.weight` there."""

    def rename(owner: str, kind: str, leaf: str) -> str:
        return f"{_under(owner, 'layers')}.{kind}.{leaf}"

    books = [f"quantizer.layers.{book}.codebook.embed" for book in range(n_codebooks)]
    return _encodec_names(network, rename, "layers", books)


def transformers_dac_names(network: nn.Module, config: DacConfig) -> Names:
    """Blocks are named there; our chains count through them."""
    units = [[f"res_unit{number}.{part}" for part in ("snake1", "conv1", "snake2", "conv2")] for number in (1, 2, 3)]
    blocks = len(config.ratios)
    theirs = {"encoder.0": "encoder.conv1", "decoder.0": "decoder.conv1"}
    for half, order in (("encoder", [*units, ["snake1"], ["conv1"]]), ("decoder", [["snake1"], ["conv_t1"], *units])):
        for index in range(blocks):
            for place, parts in enumerate(order):
                ours = f"{half}.{1 + 5 * index + place}"
                for inner, part in enumerate(parts):
                    key = ours if len(parts) == 1 else f"{ours}.block.{inner}"
                    theirs[key] = f"{half}.block.{index}.{part}"
        theirs[f"{half}.{1 + 5 * blocks}"] = f"{half}.snake1"
        theirs[f"{half}.{2 + 5 * blocks}"] = f"{half}.conv2"
    return _dac_names(network, theirs)


def descript_dac_names(network: nn.Module, config: DacConfig) -> Names:
    """Nested sequences there: the encoder is `block`, the decoder `model`, and every block a `block` again."""
    theirs: dict[str, str] = {}
    for half, sequence in (("encoder", "block"), ("decoder", "model")):
        blocks = len(config.ratios)
        theirs[f"{half}.0"] = f"{half}.{sequence}.0"
        for index in range(blocks):
            for place in range(5):
                ours = f"{half}.{1 + 5 * index + place}"
                block = f"{half}.{sequence}.{1 + index}.block.{place}"
                theirs[ours] = block
                theirs.update({f"{ours}.block.{inner}": f"{block}.block.{inner}" for inner in range(4)})
        for last in (1, 2):
            theirs[f"{half}.{last + 5 * blocks}"] = f"{half}.{sequence}.{blocks + last}"
    return _dac_names(network, theirs)


def gather(tensors: Mapping[str, Tensor], names: Names, *, source: str) -> dict[str, Tensor]:
    """Our names -> tensors in float32, weight normalisation folded.

    Raises:
        CheckpointError: lists what is missing and what is surplus, by the file's names.
    """
    taken: dict[str, Tensor] = {}
    used: set[str] = set()
    missing: list[str] = []
    for ours, theirs in names.items():
        found = []
        for name in [theirs] if isinstance(theirs, str) else theirs:
            tensor = _take(tensors, name, used)
            if tensor is None:
                missing.append(name)
            else:
                found.append(tensor)
        if isinstance(theirs, str):
            taken.update({ours: found[0]} if found else {})
        elif found and len({tensor.shape for tensor in found}) == 1:
            taken[ours] = torch.stack(found)
        elif found:
            missing.append(f"codebooks of one shape (found {sorted({tuple(book.shape) for book in found})})")
    surplus = [name for name in tensors if name not in used and not TRAINING_STATE.search(name)]
    if missing or surplus:
        raise misfit_error(source, "the codec", missing, surplus, [])
    return taken


def fold_weight_norm(v: Tensor, g: Tensor) -> Tensor:
    """`g * v / |v|` with the norm over all but the first axis (Salimans & Kingma 2016), as PyTorch computes it."""
    folded: Tensor = torch._weight_norm(v.float(), g.float(), 0)
    return folded


def _take(tensors: Mapping[str, Tensor], name: str, used: set[str]) -> Tensor | None:
    stem = name.removesuffix(".weight")
    both_styles = (
        (f"{stem}.weight_g", f"{stem}.weight_v"),
        (f"{stem}.parametrizations.weight.original0", f"{stem}.parametrizations.weight.original1"),
    )
    if name in tensors:
        used.add(name)
        # Copied out of the file: a codec is small, and then the file may be replaced while a server runs.
        return tensors[name].to(torch.float32, copy=True)
    for g, v in both_styles if name.endswith(".weight") else ():
        if g in tensors and v in tensors:
            used.update((g, v))
            return fold_weight_norm(tensors[v], tensors[g])
    return None


def _encodec_names(
    network: nn.Module, rename: Callable[[str, str, str], str], sequence: str, books: Sequence[str]
) -> Names:
    names: dict[str, str | Sequence[str]] = {}
    for ours in network.state_dict():
        if ours == "quantizer.codebooks":
            names[ours] = books
            continue
        owner, kind, leaf = ours.rsplit(".", 2)
        names[ours] = _under(ours, sequence) if kind == "lstm" else rename(owner, kind, leaf)
    return names


def _dac_names(network: nn.Module, theirs: Mapping[str, str]) -> Names:
    """`theirs` renames our places; a convolution inside a place is the place itself there."""
    names: dict[str, str] = {}
    for ours in network.state_dict():
        place, leaf = ours.rsplit(".", 1)
        place = place.removesuffix(".conv")
        names[ours] = ours if ours.startswith("quantizer.") else f"{theirs[place]}.{leaf}"
    return names


def _under(name: str, sequence: str) -> str:
    """`encoder.3.block.1` -> `encoder.<sequence>.3.block.1`."""
    half, rest = name.split(".", 1)
    return f"{half}.{sequence}.{rest}"
