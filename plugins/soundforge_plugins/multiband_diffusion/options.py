"""What `decoder_options` may say to MultiBandDiffusion, checked."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from soundforge.errors import RequestError
from soundforge.nn.mbd_diffusion import DEFAULT_STEPS
from soundforge.requests import check_number

EQUALISER_BANDS = 32
WINDOW_SECONDS = 30.0
OVERLAP_SECONDS = 1.0


@dataclass(frozen=True)
class DecodeOptions:
    """What `decoder_options` may say.

    Args:
        steps: evaluations per band model, 1 to 999; the reference's 20 unless fewer are asked for.
        step_list: the diffusion steps themselves, strictly falling, in place of `steps`; at the last one (0 in the
            reference's own list) the walk ends unevaluated.
        equalise: "batch" matches the bands of the whole batch to the codec's own decoding, as the reference does;
            "each" matches every clip by itself; "off" leaves them.
        bands: bands of the equaliser.
        strictness: of the equaliser, 0 to 1.
        window_seconds: longest piece that is decoded at once; bounds the memory.
    """

    steps: int = DEFAULT_STEPS
    step_list: tuple[int, ...] | None = None
    equalise: str = "batch"
    bands: int = EQUALISER_BANDS
    strictness: float = 1.0
    window_seconds: float = WINDOW_SECONDS

    @classmethod
    def checked(cls, values: Mapping[str, Any] | None) -> DecodeOptions:
        """From a request; raises RequestError that names what would be right."""
        given = dict(values or {})
        unknown = sorted(set(given) - set(cls.__dataclass_fields__))
        if unknown:
            raise RequestError(f"decoder option {unknown[0]!r} is unknown to mbd; it takes "
                               f"{', '.join(cls.__dataclass_fields__)}")
        if given.get("step_list") is not None:
            given["step_list"] = _checked_steps(given["step_list"])
        options = cls(**given)
        check_number("decoder option 'steps'", options.steps, 1, 999, whole=True)
        check_number("decoder option 'bands'", options.bands, 1, 256, whole=True)
        check_number("decoder option 'strictness'", options.strictness, 0.0, 1.0)
        check_number("decoder option 'window_seconds'", options.window_seconds, 3 * OVERLAP_SECONDS, 600.0)
        if options.equalise not in ("batch", "each", "off"):
            raise RequestError(f"decoder option 'equalise' came as {options.equalise!r}, expected batch, each or off")
        return options


def _checked_steps(value: Any) -> tuple[int, ...]:
    steps = tuple(value) if isinstance(value, (list, tuple)) else ()
    whole = all(isinstance(step, int) and not isinstance(step, bool) and step >= 0 for step in steps)
    if len(steps) < 2 or not whole or any(a <= b for a, b in itertools.pairwise(steps)):
        raise RequestError(f"decoder option 'step_list' came as {str(value)[:60]}, expected at least two falling whole "
                           "numbers from 0 up, such as [999, 499, 0]")
    return steps
