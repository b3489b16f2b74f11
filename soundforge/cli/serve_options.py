"""The flags of `soundforge serve`, made from the settings, so that each stands in one place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, cast

import typer

from soundforge.settings import KNOWN
from soundforge.settings_values import Rule

NOT_FLAGS_OF_SERVE = ("log", "debug")
"""`soundforge --log FILE --debug` belong to every command."""

METAVARS: Mapping[str, str] = {
    "model": "MODEL", "models": "FOLDER", "osc_host": "ADDR", "osc_allow": "ADDR", "input": "DEV", "output": "DEV",
    "rate": "HZ", "midi_in": "NAME", "midi_out": "NAME", "no_plugin": "NAME", "library": "DIR", "plugins_dir": "DIR",
    "device": "DEVICE", "presets": "TEXT"}
LIST_FLAGS = tuple(f"--{name.replace('_', '-')}" for name, item in KNOWN.items()
                   if cast(Rule, item.metadata["rule"]).kind == "texts")


def metavar(name: str, rule: Rule) -> str:
    """What stands for the value in the help."""
    if name in METAVARS:
        return METAVARS[name]
    return "|".join(rule.choices) or {"integer": "N", "number": "X", "path": "FILE"}.get(rule.kind, "TEXT")


def option(name: str) -> inspect.Parameter:
    """One keyword parameter as typer reads it. Values stay text: `Settings` converts and checks them."""
    item = KNOWN[name]
    rule = cast(Rule, item.metadata["rule"])
    default = "" if item.default in (None, (), False) or not isinstance(item.default, (str, int, float)) else \
        f" ({item.default:g})" if isinstance(item.default, float) else f" ({item.default})"
    kind: Any = {"flag": bool, "texts": list[str]}.get(rule.kind, str)
    shown = typer.Option(f"--{name.replace('_', '-')}", help=item.metadata["help"] + default + ".",
                         metavar=None if rule.kind == "flag" else metavar(name, rule), show_default=False)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None,
                             annotation=Annotated[kind | None, shown])


def with_settings(function: Callable[..., None]) -> Callable[..., None]:
    """Give `function(context, **flags)` one option per setting."""
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    parameters = [context, *[option(name) for name in KNOWN if name not in NOT_FLAGS_OF_SERVE]]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return function


def spread(arguments: Sequence[str]) -> list[str]:
    """`--midi-in A B` as `--midi-in A --midi-in B`; `serve` has no arguments that such words could be meant for."""
    out: list[str] = []
    flag, taken = "", 0
    for argument in arguments:
        if argument.startswith("-"):
            flag, taken = (argument if argument in LIST_FLAGS else ""), 0
        elif flag:
            if taken:
                out.append(flag)
            taken += 1
        out.append(argument)
    return out
