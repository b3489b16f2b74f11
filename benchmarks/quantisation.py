"""What fewer bits cost, on the starter's trained weights: perplexity, agreement of the top code, error per matrix.

    python benchmarks/quantisation.py [--loops 24] [--seconds 6]

Held-out loops (seeds that training leaves out, rendered by `training.compose`) are encoded by the starter's codec; the
model reads their codes without conditions and predicts each next one. `agreement` is the share of predictions whose
most probable code is the one float32 gives; perplexity is that of the true codes. Rows:

    bfloat16          weights and computing
    weights ...       only the weights are rounded, computed in float32: what the bits alone cost
    int8, int4        as they run: rounded inputs, and keys and values in 8 bits or (float cache) as floats

Needs the training package beside it. Last line: JSON.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import arguments, parse, print_result
from torch import Tensor, nn

import soundforge as sf
from soundforge.nn.language_model import LanguageModel
from soundforge.nn.quantised import QuantisedLinear
from soundforge.nn.quantised_model import RECIPES, QuantisedHeads, Recipe, quantise_language_model

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

MATRICES = ("in_proj", "out_proj", "q_proj", "kv_proj", "linear1", "linear2")


class HeldOut:
    """Delayed codes of held-out loops and what float32 says about them."""

    def __init__(self, lm: LanguageModel, codes: Tensor) -> None:
        batch, books, frames = codes.shape
        self.columns = torch.full((batch, books, frames + books), lm.config.special_token, dtype=torch.long)
        for k in range(books):
            self.columns[:, k, 1 + k:1 + k + frames] = codes[:, k]
        self.known = self.columns[:, :, 1:] != lm.config.special_token
        self.true = self.columns[:, :, 1:]
        self.reference = self.logits_whole(lm)

    def logits_whole(self, lm: LanguageModel) -> Tensor:
        """In one pass; `[B, K, S - 1, card]`."""
        return lm(self.columns)[:, :, :-1].float()

    def logits_stepped(self, lm: LanguageModel, narrow: bool) -> Tensor:
        """As generation computes them."""
        lm.prepare_for_steps()
        if lm.compiled is not None:
            lm.compiled.narrow = narrow
        state = lm.new_state(self.columns.shape[0], self.columns.shape[2])
        steps = [lm.step(self.columns[:, :, s:s + 1], state) for s in range(self.columns.shape[2] - 1)]
        return torch.stack(steps, dim=2)

    def judge(self, logits: Tensor) -> dict[str, float]:
        right = (logits.argmax(-1) == self.reference.argmax(-1))[self.known].float().mean()
        loss = nn.functional.cross_entropy(logits[self.known], self.true[self.known])
        change = (logits - self.reference)[self.known].norm() / self.reference[self.known].norm()
        return {"perplexity": float(loss.exp()), "agreement": float(right), "change_of_logits": float(change)}


def weights_only(lm: LanguageModel, recipe: Recipe, heads: bool = True) -> LanguageModel:
    """Rounded weights as floats."""
    rounded = quantise_language_model(copy.deepcopy(lm), recipe)
    plain = copy.deepcopy(lm)
    for name, module in rounded.named_modules():
        if isinstance(module, QuantisedLinear) and not name.startswith("heads"):
            plain.get_submodule(name).weight.data = module.weight_float(torch.float32)
    if heads:
        assert isinstance(rounded.heads, QuantisedHeads)
        plain.heads.weight.data = rounded.heads.books.weight_float(torch.float32).view_as(plain.heads.weight)
    return plain


def errors_per_matrix(lm: LanguageModel, held: HeldOut) -> dict[str, list[float]]:
    """Relative error of each matrix' output on its real inputs, by kind, layer by layer: 4 bits in groups of 32."""
    out: dict[str, list[float]] = {name: [] for name in MATRICES}
    hooks = []

    def watch(name: str) -> Callable[..., None]:
        def hook(module: nn.Linear, inputs: tuple[Tensor], output: Tensor) -> None:
            rounded = QuantisedLinear.of(module, 4, 32)
            made = nn.functional.linear(inputs[0], rounded.weight_float(torch.float32), module.bias)
            out[name].append(float((made - output).norm() / output.norm()))
        return hook

    for layer in lm.layers:
        for path, module in layer.named_modules():
            if isinstance(module, nn.Linear) and path.rpartition(".")[2] in MATRICES:
                hooks.append(module.register_forward_hook(watch(path.rpartition(".")[2])))
    held.logits_whole(lm)
    for hook in hooks:
        hook.remove()
    return {name: values for name, values in out.items() if values}


@torch.inference_mode()
def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--loops", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=6.0)
    options = parse(parser)
    from training.evaluation.making import Maker
    from training.evaluation.material import held_out_loops

    maker = Maker()
    codes = maker.codes([loop.prompt for loop in held_out_loops(options.loops, options.seconds, after=0.5)])
    with sf.load("starter") as engine:
        lm = copy.deepcopy(engine.model.decoder.lm)  # type: ignore[union-attr]
    held = HeldOut(lm, codes)
    rows: dict[str, Any] = {"float32": held.judge(held.reference)}
    rows["bfloat16"] = held.judge(held.logits_whole(copy.deepcopy(lm).bfloat16()))
    for name, recipe in _recipes().items():
        rows[f"weights {name}"] = held.judge(held.logits_whole(weights_only(lm, recipe)))
    rows["weights 4 bits, heads as they are"] = held.judge(
        held.logits_whole(weights_only(lm, Recipe(4, 32), heads=False)))
    for quantize in RECIPES:
        for narrow in (False, True):
            model = quantise_language_model(copy.deepcopy(lm), quantize)
            rows[quantize + ("" if narrow else ", float cache")] = held.judge(held.logits_stepped(model, narrow))
    for name, row in rows.items():
        print(f"{name:44} perplexity {row['perplexity']:8.3f}   agreement {row['agreement']:.4f}   "
              f"change of logits {row['change_of_logits']:.4f}")
    errors = errors_per_matrix(lm, held)
    for name, values in errors.items():
        print(f"{name:12} " + " ".join(f"{value:.3f}" for value in values))
    print_result("quantisation", {"predictions": int(held.known.sum()), "rows": rows, "error_per_matrix": errors})


def _recipes() -> dict[str, Recipe]:
    out = {"8 bits": Recipe(8)}
    out |= {f"4 bits, groups of {group}": Recipe(4, group) for group in (32, 64, 96)}
    out |= {f"4 bits, groups of 32, {wide} in 8": Recipe(4, 32, (wide,)) for wide in MATRICES}
    for pair in (("in_proj", "out_proj"), ("out_proj", "linear2")):
        out[f"4 bits, groups of 32, {' and '.join(pair)} in 8"] = Recipe(4, 32, pair)
    return out


if __name__ == "__main__":
    main()
