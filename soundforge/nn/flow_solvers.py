"""Solvers that follow a vector field from time 0 to time 1: Euler, and the adaptive Dormand-Prince pair.

The adaptive one is the usual "dopri5" (Dormand and Prince 1980; step control after Hairer, Nørsett, Wanner, Solving
ODEs I, II.4): fifth order with an embedded fourth-order estimate, the state in its own precision, time in float64.
It steps over the end and interpolates back, so that the last step is as large as accuracy allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]
"""(time as a scalar tensor of the state's type, state) to the state's derivative."""

END = 1.0 - 1e-5
"""Where the adaptive solver stops: JASCO's field is trained below 1."""

_NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
# Difference of the fifth-order weights and Shampine's fourth-order ones.
_ERROR = (35 / 384 - 1951 / 21600, 0.0, 500 / 1113 - 22642 / 50085, 125 / 192 - 451 / 720, -2187 / 6784 + 12231 / 42400,
          11 / 84 - 649 / 6300, -1 / 60)
# Weights of the state in the middle of a step, for the interpolation.
_MIDDLE = (6025192743 / 30085553152 / 2, 0.0, 51252292925 / 65400821598 / 2, -2691868925 / 45128329728 / 2,
           187940372067 / 1594534317056 / 2, -1776094331 / 19743644256 / 2, 11237099 / 235043384 / 2)
_SAFETY, _MOST_GROWTH, _MOST_SHRINKAGE, _ORDER = 0.9, 10.0, 0.2, 5
_MOST_STEPS = 100_000


def euler(field: Field, start: Tensor, steps: int) -> Tensor:
    """`steps` equal steps from time 0; the field is last evaluated at 1 - 1 / steps."""
    step = 1 / steps
    state = start
    time = torch.zeros((), device=start.device, dtype=start.dtype)
    for _ in range(steps):
        state = state + step * field(time, state)
        time = time + step  # summed up in the state's precision, as the reference's is
    return state


def dopri5(field: Field, start: Tensor, rtol: float = 1e-5, atol: float = 1e-5, end: float = END) -> Tensor:
    """The state at `end`, each step's error (root mean square) held within `atol + rtol * |state|`.

    Raises:
        ArithmeticError: the state grew beyond all bounds, or the steps became too small to go on.
    """
    # The end comes in single precision in the reference; its last bits are kept.
    last = float(torch.tensor(end, dtype=torch.float32))
    time, state = 0.0, start
    slope = field(_at(time, state), state)
    step = _first_step(field, state, slope, rtol, atol)
    for _ in range(_MOST_STEPS):
        if not math.isfinite(step) or time + step <= time or not bool(torch.isfinite(state).all()):
            break
        slopes, after = _try_step(field, state, slope, time, step)
        tolerance = atol + rtol * torch.maximum(state.abs(), after.abs())
        ratio = _rms(_combined(slopes, _ERROR, step) / tolerance)
        if ratio <= 1:
            if time + step >= last:
                return _interpolated(state, after, slopes, step, (last - time) / step)
            time, state, slope = time + step, after, slopes[-1]
        step = _next_step(step, ratio)
    raise ArithmeticError(f"the flow did not reach its end: it stands at time {time:g} with steps of {step:g}")


def _try_step(field: Field, state: Tensor, slope: Tensor, time: float, step: float) -> tuple[list[Tensor], Tensor]:
    slopes, after = [slope], state
    for node, weights in zip(_NODES, _STAGES, strict=True):
        after = state + _combined(slopes, weights, step)
        slopes.append(field(_at(time + node * step, state), after))
    return slopes, after


def _combined(slopes: list[Tensor], weights: tuple[float, ...], step: float) -> Tensor:
    total = torch.zeros_like(slopes[0])
    for slope, weight in zip(slopes, weights, strict=True):
        if weight:
            total = total + slope * (weight * step)
    return total


def _at(time: float, like: Tensor) -> Tensor:
    return torch.tensor(time, device=like.device, dtype=like.dtype)


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def _first_step(field: Field, state: Tensor, slope: Tensor, rtol: float, atol: float) -> float:
    scale = atol + state.abs() * rtol
    size, speed = _rms(state / scale), _rms(slope / scale)
    guess = 1e-6 if size < 1e-5 or speed < 1e-5 else 0.01 * size / speed
    ahead = field(_at(guess, state), state + guess * slope)
    bend = _rms((ahead - slope) / scale) / guess
    if speed <= 1e-15 and bend <= 1e-15:
        refined = max(1e-6, guess * 1e-3)
    else:
        refined = (0.01 / max(speed, bend)) ** (1 / _ORDER)
    return min(100 * guess, refined)


def _next_step(step: float, ratio: float) -> float:
    if ratio == 0:
        return step * _MOST_GROWTH
    least = 1.0 if ratio < 1 else _MOST_SHRINKAGE
    factor: float = min(_MOST_GROWTH, max(_SAFETY / ratio ** (1 / _ORDER), least))
    return step * factor


def _interpolated(before: Tensor, after: Tensor, slopes: list[Tensor], step: float, share: float) -> Tensor:
    """The state at `share` (0 to 1) of a step, by the quartic through both ends, their slopes and the middle."""
    middle = before + _combined(slopes, _MIDDLE, step)
    first, last = slopes[0], slopes[-1]
    a = 2 * step * (last - first) - 8 * (after + before) + 16 * middle
    b = step * (5 * first - 3 * last) + 18 * before + 14 * after - 32 * middle
    c = step * (last - 4 * first) - 11 * before - 5 * after + 16 * middle
    return before + share * (step * first + share * (c + share * (b + share * a)))
