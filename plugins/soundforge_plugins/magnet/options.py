"""From a request to MAGNeT's parameters."""

from __future__ import annotations

from typing import Any

from soundforge.errors import RequestError
from soundforge.nn.magnet_decoding import MagnetParams
from soundforge.requests import GenerateRequest, check_number

OPTIONS = ("decoding_steps", "cfg_min", "span_arrangement", "span_scoring", "anneal_temperature", "score_temperature")
"""Keywords of `GenerateRequest.options`.

`decoding_steps`: network runs per codebook; `cfg_min`: weight of guidance at the end of a codebook (`cfg` is the one at
its start); `span_arrangement`: "nonoverlap" or "stride1"; `span_scoring`: "max" or "prod"; `anneal_temperature`: let
the temperature fall to 0 over a codebook; `score_temperature`: with temperature 0 (greedy), the one under which
the certainty of a token is measured.
"""


def magnet_params(request: GenerateRequest, n_codebooks: int, score_temperature: float) -> MagnetParams:
    """Check and collect; raises RequestError that names what would be right."""
    given = dict(request.options)
    unknown = sorted(set(given) - set(OPTIONS))
    if unknown:
        raise RequestError(f"option {unknown[0]!r} is unknown to MAGNeT; it takes {', '.join(OPTIONS)}")
    sampling = request.sampling
    if sampling.cfg_beta is not None or sampling.two_step_cfg:
        raise RequestError("cfg_beta or two_step_cfg came, but MAGNeT has one condition and one pass; use cfg and "
                           "options={'cfg_min': ...}")
    if request.noise is not None:
        raise RequestError("noise came, but MAGNeT starts from masked codes, not from noise; use seed")
    weight = float(request.guidance.get("text", 1.0))
    greedy = sampling.temperature == 0 or (sampling.top_k == 1 and not sampling.top_p)
    temperature = sampling.temperature or _number(given, "score_temperature", score_temperature, 1e-3, 100.0)
    return MagnetParams(
        decoding_steps=_steps(given.get("decoding_steps"), n_codebooks), temperature=temperature,
        anneal_temperature=_choice(given, "anneal_temperature", (True, False)), greedy=greedy, top_p=sampling.top_p,
        top_k=sampling.top_k, cfg_max=weight * sampling.cfg,
        # Guidance switched off is off throughout.
        cfg_min=weight * _number(given, "cfg_min", 1.0, -100.0, 100.0),
        span_arrangement=_choice(given, "span_arrangement", ("nonoverlap", "stride1")),
        span_scoring=_choice(given, "span_scoring", ("max", "prod")))


def _steps(value: Any, n_codebooks: int) -> tuple[int, ...]:
    if value is None:
        return (20, *[10] * (n_codebooks - 1))
    steps = tuple(value) if isinstance(value, (list, tuple)) else ()
    if len(steps) != n_codebooks or not all(isinstance(n, int) and 1 <= n <= 1000 for n in steps):
        raise RequestError(f"option 'decoding_steps' came as {str(value)[:60]}, expected {n_codebooks} whole numbers "
                           "of at least 1, one per codebook")
    return steps


def _number(given: dict[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = given.get(name, default)
    check_number(f"option {name!r}", value, low, high)
    return float(value)


def _choice(given: dict[str, Any], name: str, choices: tuple[Any, ...]) -> Any:
    value = given.get(name, choices[0])
    if value not in choices:
        raise RequestError(f"option {name!r} came as {value!r}, expected {' or '.join(map(str, choices))}")
    return value
