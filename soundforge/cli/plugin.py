"""`soundforge plugin new|check|bench`: for those who write plugins."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from soundforge.cli.output import JsonFlag, PluginsDirOption, console, errors, print_json, usage_error
from soundforge.errors import SoundForgeError

if TYPE_CHECKING:
    from soundforge.testing.parts import PartCheck

app = typer.Typer(no_args_is_help=True, help="Write, check and measure plugins.")

Package = Annotated[str, typer.Argument(metavar="PACKAGE", help=(
    "An installed distribution, the name of its entry point, a module, or its file."))]
_NAME = re.compile(r"[a-z][a-z0-9]*([-_.][a-z0-9]+)*")


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the package, such as soundforge-tides.")],
    kind: Annotated[str, typer.Option(metavar="KIND", help=(
        "conditioner, codec, decoder, clip-processor, bridge, listener or model-family."))] = "conditioner",
    folder: Annotated[Path | None, typer.Option(metavar="DIR", help="Write it here (./NAME).")] = None,
) -> None:
    """Write a package with a working plugin, its tests and a CI file."""
    from soundforge.cli.plugin_templates import KINDS, files_of
    from soundforge.plugin_manager import PluginManager

    if kind not in KINDS:
        usage_error(f"--kind came as {kind!r}, expected one of {', '.join(KINDS)}")
    if not _NAME.fullmatch(name) or len(name) > 60:
        usage_error(f"NAME came as {name!r}, expected a-z and 0-9 in words joined by - or _, beginning with a letter")
    taken = {known for registry in PluginManager().registries.by_hook().values() for known in registry}
    files = files_of(name, kind, taken)
    module = next(path for path in files if path.endswith("/__init__.py")).split("/")[0]
    if module in ("soundforge", "soundforge_plugins", "soundforge_bridges", "test", "tests"):
        usage_error(f"NAME came as {name!r}, but a module {module!r} exists already; choose another")
    target = folder or Path(name)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        usage_error(f"{str(target)!r} exists and is not empty; name another folder with --folder")
    for path, text in files.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(text, encoding="utf-8")
    typer.echo(f"{target}: a {kind} with its tests; next: cd {target}, pip install -e '.[test]', pytest")


@app.command("check")
def check(package: Package, json: JsonFlag = False, plugins_dir: PluginsDirOption = None) -> None:
    """Check a plugin against the contract: import, registration, and every part that needs no weights."""
    results = [_result(check) for check in _checks(package, plugins_dir)]
    failed = [result for result in results if result.state == "failed"]
    if json:
        print_json([{"part": r.part, "state": r.state, "what": r.what} for r in results])
    else:
        for result in results:
            colour = {"ok": "green", "failed": "red"}.get(result.state, "yellow")
            console.print(f"[{colour}]{result.state}[/{colour}] {result.part}"
                          + (f": {result.what}" if result.what else ""), soft_wrap=True)
    if failed:
        errors.print(f"soundforge: {len(failed)} of {len(results)} checks of {package} failed", style="red",
                     markup=False)
        raise typer.Exit(1)


@app.command("bench")
def bench(package: Package, seconds: Annotated[float, typer.Option(help="Audio that is worked on.")] = 2.0,
          json: JsonFlag = False, plugins_dir: PluginsDirOption = None) -> None:
    """Measure a plugin: time to load, cost of a second of audio, latency and memory, part by part."""
    from rich.table import Table

    from soundforge.testing.benches import bench_module
    from soundforge.testing.plugins import find_plugin_modules

    if not 0.1 <= seconds <= 60:
        usage_error(f"--seconds came as {seconds:g}, expected 0.1 to 60")
    rows = [row for module in find_plugin_modules(_module_name(package, plugins_dir))
            for row in bench_module(module, seconds)]
    if json:
        print_json([{"part": part, "measure": measure, "value": value, "unit": unit}
                    for part, measure, value, unit in rows])
        return
    table = Table(box=None, pad_edge=False)
    for column in ("part", "measure", "value"):
        table.add_column(column)
    for part, measure, value, unit in rows:
        table.add_row(part, measure, f"{value:.4g} {unit}")
    console.print(table)


@dataclass(frozen=True)
class Result:
    """One line of the report; `state` is "ok", "failed" or "left"."""

    part: str
    state: str
    what: str = ""


def _checks(package: str, plugins_dir: Path | None) -> list[PartCheck]:
    from soundforge.testing.parts import checks_of

    return checks_of(_module_name(package, plugins_dir))


def _module_name(package: str, plugins_dir: Path | None) -> str:
    """The name to look for. A plugin that is one file, or a package, is a module in its folder; so is one in the folder
    where one stands."""
    path = Path(package)
    given = (path.is_file() and path.suffix == ".py") or (path / "__init__.py").is_file()
    for folder in (plugins_dir, Path.cwd(), path.resolve().parent if given else None):
        if folder is not None and str(folder.resolve()) not in sys.path:
            sys.path.insert(0, str(folder.resolve()))
    return path.resolve().stem if given else package


def _result(check: PartCheck) -> Result:
    from soundforge.testing.parts import LeftToItsTestsError

    try:
        check.run()
    except LeftToItsTestsError as reason:
        return Result(check.name, "left", str(reason))
    except (AssertionError, SoundForgeError) as error:
        return Result(check.name, "failed", " ".join(str(error).split()))
    # A third party's part may fail in any way; that is the finding.
    except Exception as error:
        return Result(check.name, "failed", f"raised {type(error).__name__}: {error}")
    return Result(check.name, "ok")
