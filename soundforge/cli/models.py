"""`soundforge models`: embedded, cached and published checkpoints."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from soundforge.cli.output import JsonFlag, console, print_json


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One line of the listing; `place` is embedded, cached, published, or "not yet" when it cannot be loaded."""

    name: str
    place: str
    kind: str
    summary: str
    parameters_millions: int | None
    download_gb: float | None
    licence: str
    sample_rate: int | None
    slots: tuple[str, ...]
    commercial_use: bool | None


def rows() -> list[ModelRow]:
    """Embedded models first, then the catalogue; the hub's cache is looked into, the network never."""
    from soundforge.checkpoints import hub
    from soundforge.checkpoints.catalog import CATALOG
    from soundforge.plugin_manager import PluginManager

    found = [ModelRow(name, "embedded", "language model", family.summary, None, None, "see its model card", None, (),
                      None)
             for family in PluginManager().registries.model_families.values() for name in family.embedded]
    for entry in CATALOG.values():
        place = "not yet" if not entry.supported else "cached" if hub.cached_folder(entry.name) else "published"
        found.append(ModelRow(entry.name, place, entry.kind, entry.summary, entry.parameters_millions,
                              entry.download_gb, entry.licence, entry.sample_rate, entry.slots, entry.commercial_use))
    return found


def models(json: JsonFlag = False,
           everything: Annotated[bool, typer.Option("--all", help="Also those that cannot be loaded yet.")] = False,
           ) -> None:
    """List models: embedded ones, those on this machine, and published ones with size and licence."""
    listed = [row for row in rows() if everything or json or row.place != "not yet"]
    if json:
        print_json([asdict(row) for row in listed])
        return
    table = Table(box=None, pad_edge=False)
    wide = console.width >= 120
    for column in ("model", "where", "download", "licence", *(("parameters", "rate", "what") if wide else ())):
        table.add_column(column, justify="right" if column in ("parameters", "download", "rate") else "left",
                         no_wrap=column == "model")
    for row in listed:
        colour = {"embedded": "green", "cached": "green"}.get(row.place, "default")
        cells = [escape(row.name), f"[{colour}]{row.place}[/{colour}]", _amount(row.download_gb, " GB"),
                 escape(row.licence), _amount(row.parameters_millions, " M"), _amount(row.sample_rate, " Hz"),
                 escape(row.summary)]
        table.add_row(*cells[:len(table.columns)])
    console.print(table)
    console.print("A folder with a checkpoint works everywhere a name does. `soundforge pull NAME` fetches one.")


def _amount(value: Any, unit: str) -> str:
    return "" if value is None else f"{value:g}{unit}"
