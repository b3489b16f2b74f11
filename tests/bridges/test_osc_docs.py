"""The page of addresses is made from the table and is current; every address in it is explained."""

from __future__ import annotations

import re
from pathlib import Path

from soundforge_bridges.osc.docs import page
from soundforge_bridges.osc.replies import REPLIES
from soundforge_bridges.osc.table import COMMANDS

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_is_current() -> None:
    got = (DOCS / "osc.md").read_text(encoding="utf-8")
    assert got == page(), "run: python -m soundforge_bridges.osc.docs docs/osc.md"


def test_every_address_is_documented_once() -> None:
    first = page().partition("### Arguments")[0]
    for command in COMMANDS:
        signature = f"`{command.signature}`" if command.signature else ""
        assert first.count(f"| `{command.address}` | {signature} |") == 1
        assert command.doc.endswith(".") and command.reply
    assert len({command.address for command in COMMANDS}) == len(COMMANDS)
    for address, (_, doc) in REPLIES.items():
        assert f"| `{address}` | " in page() and doc.endswith(".")


def test_every_reply_named_by_a_command_exists() -> None:
    for command in COMMANDS:
        named = re.findall(r"/soundforge/[\w/]+", command.reply)
        assert all(address in REPLIES for address in named), command.address


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page()):
        assert (DOCS / target).exists(), target
