"""From a request to JASCO's solver and guidance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from soundforge.errors import RequestError
from soundforge.requests import GenerateRequest, check_number

OPTIONS = ("solver", "steps", "rtol", "atol", "cfg_text")
SMALLEST_WEIGHT = 1e-6
"""A branch of guidance with less weight than this is not computed."""


@dataclass(frozen=True)
class JascoParams:
    """How a generation runs.

    Args:
        solver: "dopri5" (adaptive) or "euler".
        steps: of Euler.
        rtol, atol: of the adaptive solver.
        cfg: weight of the branch with all conditions.
        cfg_text: weight of the branch with the text alone; the null branch has what is left to 1.
        weights: further weights by condition, 1 = none (see `docs/guidance.md`).
    """

    solver: str = "dopri5"
    steps: int = 100
    rtol: float = 1e-5
    atol: float = 1e-5
    cfg: float = 5.0
    cfg_text: float = 0.0
    weights: tuple[tuple[str, float], ...] = ()


def jasco_params(request: GenerateRequest) -> JascoParams:
    """Check and collect.

    `options`: `solver`, `steps`, `rtol`, `atol`, `cfg_text`. `guidance={"all": a, "text": t}` gives the weights of
    the two branches as the reference has them (`cfg_coef_all`, `cfg_coef_txt`); without "all", guidance weights
    are relative to `cfg`, as for every other model.

    Raises:
        RequestError: names what would be right.
    """
    given = dict(request.options)
    unknown = sorted(set(given) - set(OPTIONS))
    if unknown:
        raise RequestError(f"option {unknown[0]!r} is unknown to JASCO; it takes {', '.join(OPTIONS)}")
    if request.sampling.cfg_beta is not None or request.sampling.two_step_cfg:
        raise RequestError("cfg_beta or two_step_cfg came, but JASCO is guided by cfg (all conditions) and "
                           "options={'cfg_text': ...} (the text alone)")
    solver = given.get("solver", "euler" if "steps" in given else "dopri5")
    if solver not in ("dopri5", "euler"):
        raise RequestError(f"option 'solver' came as {solver!r}, expected dopri5 or euler")
    if solver == "dopri5" and "steps" in given:
        raise RequestError("option 'steps' came with the adaptive solver, which chooses its own; expected rtol and "
                           "atol, or solver 'euler'")
    cfg, cfg_text = request.sampling.cfg, _number(given, "cfg_text", 0.0, -100.0, 100.0)
    weights = {name: float(weight) for name, weight in request.guidance.items()}
    if "all" in weights:
        if "cfg_text" in given:
            raise RequestError("the text's weight came both as options['cfg_text'] and in guidance beside 'all'; give "
                               "it once")
        cfg, cfg_text = weights.pop("all"), weights.pop("text", 0.0)
    return JascoParams(
        solver, int(_number(given, "steps", 100, 1, 10_000, whole=True)), _number(given, "rtol", 1e-5, 1e-9, 1.0),
        _number(given, "atol", 1e-5, 1e-9, 1.0), cfg, cfg_text,
        tuple((name, weight) for name, weight in sorted(weights.items()) if weight != 1.0))


def _number(given: Mapping[str, Any], name: str, default: float, low: float, high: float, whole: bool = False) -> float:
    value = given.get(name, default)
    check_number(f"option {name!r}", value, low, high, whole=whole)
    return float(value)


Row = tuple[frozenset[str], ...]
"""Conditions that are switched on in one branch of guidance, per item of the batch."""


def guidance_rows(params: JascoParams, present: Sequence[frozenset[str]],
                  dropped: frozenset[str]) -> list[tuple[Row, float]]:
    """The branches to compute and their weights, which add up to 1. Equal branches are one.

    A quirk of the reference, kept because its outputs depend on it: an item without chords keeps its melody in the
    text-only and in the null branch.

    Args:
        params: the weights.
        present: the conditions that each item has.
        dropped: conditions that the text-only branch leaves out, as the checkpoint says.
    """
    def without(item: frozenset[str], names: frozenset[str]) -> frozenset[str]:
        return item - (names if "chords" in item else names - {"melody"})

    everything = tuple(present)
    rows: dict[Row, float] = {everything: params.cfg}

    def add(row: Row, weight: float) -> None:
        rows[row] = rows.get(row, 0.0) + weight

    add(tuple(without(item, dropped) for item in present), params.cfg_text)
    add(tuple(without(item, item) for item in present), 1.0 - (params.cfg + params.cfg_text))
    for name, weight in params.weights:
        # cfg * (w - 1) * (all - all without it)
        add(everything, params.cfg * (weight - 1.0))
        add(tuple(item - {name} for item in present), -params.cfg * (weight - 1.0))
    kept = [(row, weight) for row, weight in rows.items() if abs(weight) >= SMALLEST_WEIGHT]
    return kept or [(everything, 1.0)]
