"""The table's weights of guidance: bounded in number, and forgotten where a model has no condition for them."""

from __future__ import annotations

import pytest

from soundforge.errors import RequestError
from soundforge.live.params import MAX_WEIGHTS, ParamValues


def test_weights_are_bounded() -> None:
    """Whoever invents names, as a stranger on the network may before a model is there, does not fill the memory."""
    params = ParamValues()
    for k in range(MAX_WEIGHTS):
        params.set(f"guidance/n{k}", 2.0)
    with pytest.raises(RequestError, match="64 weights are set already"):
        params.set("guidance/more", 2.0)
    params.set("guidance/n0", 3.0)
    assert params.set("cfg", 2.0) == params.get("cfg") == 2.0
    assert len(params.guidance()) == MAX_WEIGHTS


def test_weights_of_unknown_conditions_are_forgotten() -> None:
    params = ParamValues()
    params.set("guidance/chroma", 2.0)
    params.set("guidance/text", 3.0)
    assert params.forget_guidance({"text", "all"}) == ["guidance/chroma"]
    assert params.guidance() == {"text": 3.0}
    assert params.get("guidance/chroma") == 1.0
