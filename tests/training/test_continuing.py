"""The evaluation's baseline: the shipped model's sizes with nothing learnt."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.evaluation.continuing import untrained_folder
from training.evaluation.making import Job, Maker


@pytest.mark.slow


def test_the_untrained_model_is_built_and_played_as_the_trained_one(tmp_path: Path) -> None:
    maker = Maker()
    untrained = Maker(untrained_folder(maker, tmp_path))
    jobs = [Job({"text": "techno in a minor"}, bpm=120.0)]
    (wave,), codes = untrained.make(jobs, 0.2)
    assert wave.shape == (6400,) and codes.shape == (1, untrained.runtime.n_codebooks, 10)
    assert not (codes == maker.make(jobs, 0.2)[1]).all()
