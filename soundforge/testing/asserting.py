"""What the checks share: one clear line for each failure, test sounds, and comparing with a tolerance."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from soundforge.audio import Waveform
from soundforge.errors import SoundForgeError

if TYPE_CHECKING:
    from torch import Tensor

ODD_VALUES: tuple[Any, ...] = (object(), "", "\x00", b"\x00", -1, float("nan"), [], {}, (),
                               Waveform(np.zeros((1, 0), np.float32), 16_000))
"""What a user's script may hand over by mistake. It is taken or refused in one line, and nothing else."""


def require(holds: bool, failure: str) -> None:
    """Raise AssertionError with one line unless `holds` (an `assert` statement would go under `python -O`)."""
    if not holds:
        raise AssertionError(" ".join(failure.split()))


def refused_in_one_line(call: Callable[[], Any], what: str, *kinds: type[SoundForgeError]) -> bool:
    """Whether `call` was refused as the contract wants it; False when it was taken.

    Raises:
        AssertionError: it raised another error, or a text of several lines or none.
    """
    expected = " or ".join(kind.__name__ for kind in kinds)
    try:
        call()
    except kinds as error:
        text = str(error)
        require(bool(text.strip()) and "\n" not in text, f"{what} was refused with {text!r}, expected one line")
        return True
    # Whatever else third-party code raises is the finding.
    except Exception as error:
        raise AssertionError(f"{what} raised {type(error).__name__}: {error}; expected {expected}") from error
    return False


def must_refuse(call: Callable[[], Any], what: str, *kinds: type[SoundForgeError]) -> None:
    """As `refused_in_one_line`, and being taken is a failure as well."""
    expected = " or ".join(kind.__name__ for kind in kinds)
    require(refused_in_one_line(call, what, *kinds), f"{what} was taken, expected {expected}")


def noise(seconds: float, sample_rate: int, channels: int = 1, seed: int = 0, level: float = 0.2) -> Waveform:
    """White noise whose level moves, the same for a seed."""
    samples = round(seconds * sample_rate)
    values = np.random.default_rng(seed).standard_normal((channels, samples)) * level
    return Waveform((values * np.linspace(0.2, 1.0, samples)).astype(np.float32), sample_rate)


def require_close(got: Tensor, expected: Tensor, what: str, tolerance: float = 1e-4) -> None:
    """Same shape, and equal within `tolerance` of the largest magnitude (at least 1)."""
    require(got.shape == expected.shape, f"{what}: shapes {list(got.shape)} and {list(expected.shape)} differ")
    if expected.numel():
        limit = tolerance * max(1.0, float(expected.abs().max()))
        furthest = float((got - expected).abs().max())
        require(furthest <= limit, f"{what}: they differ by {furthest:.3g}, expected at most {limit:.3g}")


def require_same_codes(got: Tensor, expected: Tensor, what: str, share: float = 0.97) -> None:
    """Same shape, and the same codes but for the few that float rounding tips over."""
    require(got.shape == expected.shape, f"{what}: shapes {list(got.shape)} and {list(expected.shape)} differ")
    if expected.numel():
        same = float((got == expected).float().mean())
        require(same >= share, f"{what}: {100 * same:.1f} % of the codes are the same, expected {100 * share:g} %")
