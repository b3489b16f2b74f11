"""The hub without a network: what is cached is found, what is not gives one clear line, quickly."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from soundforge.checkpoints import catalog, hub
from soundforge.errors import CheckpointError, NotCachedError

COMMIT = "0" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no way to the hub even where there is a network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    return tmp_path


def _put(cache: Path, name: str, *files: str) -> Path:
    """A repository in the cache, laid out as the hub's own program does."""
    repository = cache / ("models--" + name.replace("/", "--"))
    folder = repository / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    for file in files:
        (folder / file).write_text("{}")
    return folder


def test_a_cached_checkpoint_is_found_by_either_name(cache: Path) -> None:
    folder = _put(cache, "facebook/musicgen-small", "config.json", "model.safetensors")
    said: list[str] = []
    assert hub.resolve("facebook/musicgen-small", said.append) == folder
    assert hub.resolve("musicgen-small", said.append) == folder
    assert hub.hub_name(folder) == "facebook/musicgen-small"
    assert hub.hub_name(Path("some/folder")) == "folder"
    assert not said


def test_a_half_cached_one_is_not(cache: Path) -> None:
    folder = _put(cache, "facebook/musicgen-large", "config.json", "model-00001-of-00002.safetensors")
    assert hub.cached_folder("facebook/musicgen-large") is None
    (folder / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}')
    assert hub.cached_folder("facebook/musicgen-large") is None
    (folder / "model-00002-of-00002.safetensors").write_text("")
    assert hub.cached_folder("facebook/musicgen-large") == folder
    _put(cache, "facebook/musicgen-style", "state_dict.bin")
    assert hub.cached_folder("facebook/musicgen-style") is None
    (cache / "models--facebook--musicgen-style" / "snapshots" / COMMIT / "compression_state_dict.bin").write_text("")
    assert hub.cached_folder("facebook/musicgen-style") is not None


def test_moved_names_are_found_under_the_new_one(cache: Path) -> None:
    folder = _put(cache, "google-t5/t5-base", "config.json", "model.safetensors")
    assert hub.resolve("t5-base") == folder


def test_without_network_the_error_is_one_line_and_quick(cache: Path) -> None:
    started = time.monotonic()
    with pytest.raises(NotCachedError, match="soundforge pull facebook/musicgen-small") as caught:
        hub.pull("facebook/musicgen-small", lambda line: None)
    assert time.monotonic() - started < 30
    assert "\n" not in str(caught.value)


def test_offline_mode_does_not_even_try(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *a, **k: pytest.fail("it connected"))
    with pytest.raises(NotCachedError, match="HF_HUB_OFFLINE"):
        hub.resolve("facebook/musicgen-small")


@pytest.mark.parametrize("name", ["../secret", "a/b/c", "", "facebook/", "white space", "http://x/y"])
def test_what_is_no_name_is_refused(cache: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="not a model's name"):
        hub.resolve(name)


def test_what_cannot_be_loaded_is_not_fetched(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "facebook/musicgen-small"
    monkeypatch.setitem(catalog.CATALOG, name, replace(catalog.CATALOG[name], supported=False))
    with pytest.raises(CheckpointError, match="cannot be loaded yet"):
        hub.resolve(name)


def test_the_licence_is_told() -> None:
    assert "CC-BY-NC-4.0 (no commercial use)" in hub.licence_line("facebook/musicgen-small")
    assert "2.4 GB" in hub.licence_line("facebook/musicgen-small")
    assert "https://huggingface.co/someone/model" in hub.licence_line("someone/model")


@pytest.mark.parametrize(("names", "wanted"), [
    (["config.json", "model.safetensors", "state_dict.bin", "compression_state_dict.bin", "pytorch_model.bin"],
     ["*.json", "*.model", "*.txt", "model.safetensors"]),
    (["config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors", "state_dict.bin",
      "model-00002-of-00002.safetensors"],
     ["*.json", "*.model", "*.txt", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]),
    (["config.json", "state_dict.bin", "compression_state_dict.bin", "README.md"],
     ["state_dict.bin", "compression_state_dict.bin"]),
    (["config.json", "pytorch_model.bin"], ["*.json", "*.model", "*.txt", "pytorch_model*.bin"]),
])
def test_only_one_layout_is_fetched(names: list[str], wanted: list[str]) -> None:
    assert hub.files_to_fetch(names) == wanted


def test_a_repository_without_a_checkpoint_is_refused() -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        hub.files_to_fetch(["README.md", "flax_model.msgpack"])


def test_catalogue_is_light_and_whole() -> None:
    """Listing models imports no torch; sizes are what the hyper-parameters and precisions give."""
    code = ("import sys\nfrom soundforge.checkpoints import catalog\nassert 'torch' not in sys.modules, 'torch'\n"
            "print(len(catalog.CATALOG))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
                          env={**os.environ}, check=True)
    assert int(done.stdout) == len(catalog.CATALOG)
    for entry in catalog.CATALOG.values():
        sizes = (entry.download_gb, entry.parameters_millions)
        assert entry.licence and (sizes == (None, None) if entry.kind == "decoder" else all(size > 0 for size in sizes))
        assert entry.sample_rate in (16000, 24000, 32000, 44100, 48000)
        assert bool(entry.slots) == (entry.kind not in ("codec", "decoder"))
        assert catalog.find(entry.short_name) is entry
        for companion in entry.companions:
            assert companion in ("t5-base", "t5-large", "m-a-p/MERT-v1-95M") or companion in catalog.CATALOG
    assert catalog.find("no/such") is None


@pytest.mark.parametrize(("name", "width", "heads", "layers", "books", "cross"), [
    ("musicgen-small", 1024, 16, 24, 4, True), ("musicgen-medium", 1536, 24, 48, 4, True),
    ("musicgen-large", 2048, 32, 48, 4, True), ("musicgen-melody", 1536, 24, 48, 4, False),
    ("musicgen-melody-large", 2048, 32, 48, 4, False), ("musicgen-stereo-small", 1024, 16, 24, 8, True),
    ("musicgen-stereo-medium", 1536, 24, 48, 8, True), ("musicgen-stereo-large", 2048, 32, 48, 8, True),
    ("musicgen-stereo-melody", 1536, 24, 48, 8, False), ("musicgen-stereo-melody-large", 2048, 32, 48, 8, False),
    ("audiogen-medium", 1536, 24, 48, 4, True),
])
def test_parameters_are_counted_not_guessed(name: str, width: int, heads: int, layers: int, books: int,
                                            cross: bool) -> None:
    from soundforge.checkpoints.files import build_empty
    from soundforge.nn.language_model import LanguageModel, LanguageModelConfig

    config = LanguageModelConfig(width, heads, layers, books, 2048, cross_attention=cross)
    counted = sum(p.numel() for p in build_empty(lambda: LanguageModel(config)).parameters()) / 1e6
    entry = catalog.find(name)
    assert entry is not None and abs(entry.parameters_millions - counted) < 0.01 * counted, counted
