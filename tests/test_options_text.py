"""Options that are given as text: a decoder's and a model's own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import soundforge as sf
from soundforge.errors import RequestError
from soundforge.processing import decoder_call, model_options


@pytest.mark.parametrize(("text", "options"), [
    ("", {}), ("solver=euler,steps=20", {"solver": "euler", "steps": 20}),
    ("rtol=1e-4, atol=0.5", {"rtol": 1e-4, "atol": 0.5}),
    ("decoding_steps=10/5/5/5", {"decoding_steps": (10, 5, 5, 5)}),
    ("anneal_temperature=false", {"anneal_temperature": False})])
def test_a_model_s_options(text: str, options: dict[str, Any]) -> None:
    assert model_options(text) == options


def test_a_decoder_s_options() -> None:
    assert decoder_call(None) == decoder_call("") == (None, None)
    assert decoder_call("mbd") == ("mbd", {})
    assert decoder_call("mbd:steps=10,equalise=each") == ("mbd", {"steps": 10, "equalise": "each"})
    with pytest.raises(RequestError, match="expected one name"):
        decoder_call("mbd other")


@given(text=st.text(max_size=30))
def test_any_text_is_options_or_our_error(text: str) -> None:
    for read in (model_options, decoder_call):
        try:
            read(text)
        except RequestError as error:
            assert len(str(error).splitlines()) == 1, "one line"


def test_a_language_model_takes_none(tiny_model: str) -> None:
    with sf.load(tiny_model, device="cpu") as engine:
        for make in (engine.generate, lambda *a, **k: list(engine.stream(*a, **k))):
            with pytest.raises(RequestError, match=r"options came \(steps\), but .* is a language model and"):
                make("x", seconds=0.2, options={"steps": 3})
