"""Published checkpoints on this machine: found in the hub's cache, or fetched into it.

    folder = hub.resolve("facebook/musicgen-small")   # cached, else fetched; NotCachedError without network
    hub.pull("facebook/musicgen-style", say=print)    # with everything else it needs; shows the licence

The cache is huggingface_hub's (`HF_HOME`, `HF_HUB_CACHE`), shared with other programs; `HF_HUB_OFFLINE=1` keeps
the network shut. Of a repository that holds both layouts only the transformers one is fetched. Nothing fetched
is executed. Thread-safe: as far as huggingface_hub's file locks are.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from soundforge.checkpoints import catalog
from soundforge.errors import CheckpointError, NotCachedError

_TIMEOUT_SECONDS = 10.0
_SMALL_FILES = ("*.json", "*.model", "*.txt")
_AUDIOCRAFT_FILES = ("state_dict.bin", "compression_state_dict.bin")
# JASCO's table of chord symbols, where a repository has it; read as plain data, never unpickled.
_BESIDE_AUDIOCRAFT = ("chord_to_index_mapping.json", "chord_to_index_mapping.pkl")
_MBD_FILES = ("mbd_musicgen_32khz.th", "mbd_comp_2.pt", "mbd_comp_4.pt", "mbd_comp_8.pt")
_CACHED_FOLDER = re.compile(r"^models--([^/]+?)--([^/]+)$")
# The hub redirects the old names, but caches them under the one that was asked for.
_MOVED = {name: f"google-t5/{name}" for name in ("t5-small", "t5-base", "t5-large")}

Say = Callable[[str], None]


def resolve(name: str, say: Say | None = None) -> Path:
    """The local folder of a published checkpoint, fetched when it is not cached.

    Args:
        name: hub name ("facebook/musicgen-small", "t5-base"); listed ones also without their owner.
        say: is told what is fetched and under which licence; None = stderr.

    Raises:
        CheckpointError: there is no such model, or this version cannot load it.
        NotCachedError: it is not cached, and the network is absent, shut or fails.
    """
    name = _checked(name)
    folder = cached_folder(name)
    if folder is not None:
        return folder
    if _offline():
        raise NotCachedError(f"{name} is not on this machine, and HF_HUB_OFFLINE keeps the network shut; "
                             "unset it, or copy the checkpoint here and give its folder")
    return _fetch(name, say or _to_stderr)


def pull(name: str, say: Say | None = None) -> Path:
    """As `resolve`, and fetches what the checkpoint needs beside it: text encoder, codec, JASCO's chord table."""
    folder = resolve(name, say)
    entry = catalog.find(name)
    for companion in entry.companions if entry is not None else ():
        resolve(companion, say)
    if entry is not None and "chords" in entry.slots:
        from soundforge.checkpoints.jasco_chords import pull_chord_table

        pull_chord_table(say or _to_stderr)
    return folder


def cached_folder(name: str) -> Path | None:
    """The cached folder of a hub name when everything needed to load it is there, else None. Never connects."""
    from huggingface_hub import snapshot_download

    for spelling in (name, _MOVED.get(name)):
        try:
            folder = Path(snapshot_download(spelling, local_files_only=True)) if spelling else None
        except (OSError, ValueError):  # not cached, or not a name that could be
            continue
        if folder is not None and _complete(folder):
            return folder
    return None


def hub_name(folder: Path) -> str:
    """The hub name of a folder inside the cache, else the folder's own name."""
    if folder.parent.name == "snapshots":
        match = _CACHED_FOLDER.match(folder.parent.parent.name)
        if match:
            return f"{match[1]}/{match[2]}"
        return folder.parent.parent.name.removeprefix("models--")
    return folder.name


def files_to_fetch(names: Iterable[str]) -> list[str]:
    """Which files of a repository are needed: the transformers layout's where it is there, else AudioCraft's.

    Raises:
        CheckpointError: neither is there.
    """
    names = list(names)
    tensors = [name for name in names if name.endswith(".safetensors") and "/" not in name]
    has_config = "config.json" in names
    if has_config and "model.safetensors" in tensors:
        return [*_SMALL_FILES, "model.safetensors"]
    if has_config and "model.safetensors.index.json" in names:
        return [*_SMALL_FILES, *(name for name in tensors if name.startswith("model-"))]
    if any(name in names for name in _AUDIOCRAFT_FILES):
        return [*_AUDIOCRAFT_FILES, *(name for name in _BESIDE_AUDIOCRAFT if name in names)]
    if any(name in names for name in _MBD_FILES):
        return [name for name in _MBD_FILES if name in names]
    if has_config and any(name.startswith("pytorch_model") for name in names):
        return [*_SMALL_FILES, "pytorch_model*.bin"]
    raise CheckpointError("the repository holds no checkpoint that can be read: expected safetensors, "
                          "state_dict.bin or pytorch_model.bin")


def _checked(name: str) -> str:
    entry = catalog.find(name)
    if entry is None:
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or ".." in name:
            raise CheckpointError(f"{name!r} is not a model's name; expected one like facebook/musicgen-small, "
                                  "or a folder")
        return name
    if not entry.supported:
        raise CheckpointError(f"{entry.name} ({entry.kind}) cannot be loaded yet; `soundforge models` lists "
                              "what can")
    return entry.name


def _offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE) or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def licence_line(name: str) -> str:
    """What is about to be fetched, how much it is, and what its licence is."""
    entry = catalog.find(name)
    if entry is None:
        return f"fetching {name}; see https://huggingface.co/{name} for its licence"
    limits = "" if entry.commercial_use else " (no commercial use)"
    size = "" if entry.download_gb is None else f", about {entry.download_gb:g} GB in all"
    return f"fetching {name}{size}; licence of the weights: {entry.licence}{limits}"


def _fetch(name: str, say: Say) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        siblings = HfApi().model_info(name, timeout=_TIMEOUT_SECONDS).siblings or []
        wanted = files_to_fetch(sibling.rfilename for sibling in siblings)
        say(licence_line(name))
        return Path(snapshot_download(name, allow_patterns=wanted, etag_timeout=_TIMEOUT_SECONDS))
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error}") from error
    except GatedRepoError as error:
        raise CheckpointError(f"{name} asks for its licence to be accepted on the hub first; accept it at "
                              f"https://huggingface.co/{name} and log in with `hf auth login`") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(f"the hub has no model {name!r}; `soundforge models` lists what is known") from error
    # Below it are the HTTP library's errors, which change their family from one release to the next.
    except Exception as error:
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise NotCachedError(f"{name} is not on this machine and cannot be fetched ({first[:120]}); connect to the "
                             "network and run `soundforge pull " f"{name}`, or give a folder") from error


def _complete(folder: Path) -> bool:
    """Whether a cached snapshot holds one whole layout (another program may have fetched half of it)."""
    if (folder / "config.json").is_file():
        if (folder / "model.safetensors").is_file() or (folder / "pytorch_model.bin").is_file():
            return True
        for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
            if (folder / index).is_file() and _all_shards(folder / index):
                return True
    if any((folder / name).is_file() for name in _MBD_FILES):
        return True
    present = [(folder / name).is_file() for name in _AUDIOCRAFT_FILES]
    return all(present) or (present[1] and not any(folder.glob("*.json")))


def _all_shards(index: Path) -> bool:
    from soundforge.checkpoints.files import read_json

    shards = read_json(index).get("weight_map", {})
    return bool(shards) and all((index.parent / str(shard)).is_file() for shard in set(shards.values()))


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)
