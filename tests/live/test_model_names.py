"""Names of models from outside: no path, but what the server was told of."""

from __future__ import annotations

import pytest

from soundforge.errors import RequestError
from soundforge.live.model_names import resolve_model

TOLD = ("starter", "/srv/models/gig", "D:\\models\\second")


@pytest.mark.parametrize("name, loaded", [
    ("starter", "starter"), ("gig", "/srv/models/gig"), ("/srv/models/gig", "/srv/models/gig"),
    ("facebook/musicgen-small", "facebook/musicgen-small"), ("my_model-2.1", "my_model-2.1")])
def test_names_and_folders_that_were_told(name: str, loaded: str) -> None:
    assert resolve_model(name, TOLD) == loaded


@pytest.mark.parametrize("name", [
    "", "/etc", "/srv/models/other", "../gig", "a/../b", "./gig", "~/gig", "a/b/c", "\\\\host\\share", "//host/share",
    "C:/models", "a b", ".hidden", "x" * 301, "gig\n"])
def test_paths_are_refused_and_the_answer_says_what_to_do(name: str) -> None:
    with pytest.raises(RequestError, match="--models FOLDER"):
        resolve_model(name, TOLD)
