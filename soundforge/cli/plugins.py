"""`soundforge plugins`: what is plugged in, from where, and what failed."""

from __future__ import annotations

from dataclasses import asdict

from rich.markup import escape
from rich.table import Table

from soundforge.cli.output import JsonFlag, NoPluginOption, PluginsDirOption, console, print_json


def plugins(json: JsonFlag = False, plugins_dir: PluginsDirOption = None, no_plugin: NoPluginOption = None) -> None:
    """List plugins with their hooks, distribution and version; failed ones with the reason."""
    from soundforge.plugin_manager import PluginManager

    report = PluginManager(plugins_dir=plugins_dir, disabled=no_plugin or ()).report()
    if json:
        print_json([asdict(info) for info in report])
        return
    if not report:
        console.print("no plugins are loaded; SOUNDFORGE_PLUGINS limits them, or the installation is incomplete")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("plugin", "distribution", "provides", "hooks"):
        table.add_column(column)
    for info in report:
        provides = "; ".join(f"{kind} {', '.join(names)}" for kind, names in info.provides.items())
        failed = f"[red]failed: {escape(info.error)}[/red]" if info.error else ""
        table.add_row(escape(info.name), escape(f"{info.distribution} {info.version}".strip()),
                      "\n".join(part for part in (escape(provides), failed) if part), escape(" ".join(info.hooks)))
    console.print(table)
