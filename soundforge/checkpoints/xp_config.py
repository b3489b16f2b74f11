"""AudioCraft's experiment configuration (`xp.cfg`) without omegaconf.

Exported checkpoints carry it as YAML text with interpolations such as `${encodec.causal}`; a few older files
pickle the omegaconf objects themselves. Both are turned into plain dicts, lists, numbers and text.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from typing import Any

import torch
import yaml

from soundforge.errors import CheckpointError

_INTERPOLATION = re.compile(r"\$\{([^${}]+)\}")
_MAX_DEPTH = 32
_MAX_RESOLUTIONS = 100_000


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads `1e-5` as text because it has no dot; omegaconf, and so AudioCraft, reads a number."""


_Loader.yaml_implicit_resolvers = dict(yaml.SafeLoader.yaml_implicit_resolvers)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?(?:[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)"
        r"|\.[0-9_]+(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def parse_xp_config(text: Any, *, source: str) -> dict[str, Any]:
    """Plain dictionary from YAML text, with interpolations resolved.

    An interpolation that names nothing in the file (`${oc.env:USER}`) stays as text: such entries are
    training paths, which inference never reads.
    """
    if not isinstance(text, str):
        raise CheckpointError(f"{source}: 'xp.cfg' is a {type(text).__name__}, expected YAML text")
    try:
        config = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise CheckpointError(f"{source}: 'xp.cfg' is not readable YAML: {error}".splitlines()[0]) from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{source}: 'xp.cfg' holds a {type(config).__name__}, expected a mapping")
    try:
        resolved: dict[str, Any] = _Resolver(config, source).resolve(config)
    except RecursionError as error:
        raise CheckpointError(f"{source}: 'xp.cfg' is nested too deeply") from error
    return resolved


class _Resolver:
    """Replaces the interpolations of one configuration.

    The budget bounds what a hostile file can make of nested references (each level doubling the text).
    """

    def __init__(self, root: dict[str, Any], source: str) -> None:
        self._root = root
        self._source = source
        self._budget = _MAX_RESOLUTIONS

    def resolve(self, node: Any, path: tuple[str, ...] = (), depth: int = 0) -> Any:
        self._budget -= 1
        if self._budget < 0 or depth > _MAX_DEPTH:
            raise CheckpointError(f"{self._source}: 'xp.cfg' refers to itself at {'.'.join(path)}")
        if isinstance(node, dict):
            return {key: self.resolve(value, (*path, str(key)), depth) for key, value in node.items()}
        if isinstance(node, list):
            return [self.resolve(value, (*path, str(index)), depth) for index, value in enumerate(node)]
        if not isinstance(node, str) or "${" not in node:
            return node
        whole = _INTERPOLATION.fullmatch(node)
        if whole:  # keeps the type: `${sample_rate}` is a number
            return self._value_of(whole, path, depth)
        return _INTERPOLATION.sub(lambda match: str(self._value_of(match, path, depth)), node)

    def _value_of(self, match: re.Match[str], path: tuple[str, ...], depth: int) -> Any:
        found = self._look_up(match[1].strip(), path)
        return self.resolve(found[1], found[0], depth + 1) if found else match[0]

    def _look_up(self, name: str, path: tuple[str, ...]) -> tuple[tuple[str, ...], Any] | None:
        """`a.b` counts from the root; `.a` from the mapping that holds the entry, `..a` from the one above."""
        rest = name.lstrip(".")
        dots = len(name) - len(rest)
        if dots > len(path):
            return None
        target = (*(path[: len(path) - dots] if dots else ()), *rest.split("."))
        node: Any = self._root
        for key in target:
            if isinstance(node, dict) and key in node:
                node = node[key]
            elif isinstance(node, list) and key.isdigit() and int(key) < len(node):
                node = node[int(key)]
            else:
                return None
        return target, node


class _Inert:
    """Stands for an omegaconf class in a pickle: keeps the state that was stored, does nothing."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _InertMapping(dict[Any, Any]):
    """Stands for `collections.defaultdict`, whose factory must not be called."""

    def __init__(self, *_: Any) -> None:
        super().__init__()


_CONTAINERS = ("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig")
_OTHERS = (
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.nodes.AnyNode",
    "omegaconf.nodes.BooleanNode",
    "omegaconf.nodes.FloatNode",
    "omegaconf.nodes.IntegerNode",
    "omegaconf.nodes.StringNode",
    "typing.Any",
)


def inert_omegaconf() -> AbstractContextManager[Any]:
    """While entered, the weights-only reader takes omegaconf objects as data; `plain_config` unwraps them."""
    stand_ins: list[Any] = [(type("Inert", (_Inert,), {}), name) for name in (*_CONTAINERS, *_OTHERS)]
    stand_ins += [(dict, "builtins.dict"), (list, "builtins.list"), (_InertMapping, "collections.defaultdict")]
    manager: AbstractContextManager[Any] = torch.serialization.safe_globals(stand_ins)
    return manager


def plain_config(value: Any) -> Any:
    """`value` with every stand-in replaced by the plain content it carries, interpolations resolved."""
    if isinstance(value, _Inert):
        content = _unwrap(value)
        return _Resolver(content, "the file").resolve(content) if isinstance(content, dict) else content
    if isinstance(value, dict):
        return {key: plain_config(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain_config(item) for item in value]
    return value


def _unwrap(value: Any) -> Any:
    if isinstance(value, _Inert):
        state = value.state if isinstance(value.state, dict) else {}
        return _unwrap(state["_content"]) if "_content" in state else _unwrap(state.get("_val"))
    if isinstance(value, dict):
        return {key: _unwrap(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unwrap(item) for item in value]
    return value
