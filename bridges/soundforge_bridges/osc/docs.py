"""Writes `docs/osc.md` from the table: `python -m soundforge_bridges.osc.docs [FILE]`.

A test compares the file with `page()`, so the page cannot fall behind the code.
"""

from __future__ import annotations

from soundforge.live.params import PARAMS, Param, find_param
from soundforge_bridges.docs_page import write_page
from soundforge_bridges.osc.arguments import Argument
from soundforge_bridges.osc.fair_queue import PER_SENDER, TOTAL
from soundforge_bridges.osc.peers import ERRORS_PER_SECOND, MAX_SUBSCRIBERS, SUBSCRIPTION_SECONDS
from soundforge_bridges.osc.reader import MAX_ARGUMENTS, MAX_DEPTH, MAX_MESSAGES
from soundforge_bridges.osc.replies import REPLIES
from soundforge_bridges.osc.schedule import MAX_AHEAD_SECONDS, MAX_WAITING, MAX_WAITING_PER_HOST
from soundforge_bridges.osc.table import COMMANDS, Command

HEAD = f"""# OSC addresses

*Made from the code by `python -m soundforge_bridges.osc.docs docs/osc.md`; change the table, not this page.*

UDP, `127.0.0.1:9130` unless `--osc-port` and `--osc-host` say otherwise. Packets of other machines are read only when
`--osc-allow` names them (an address, a network such as `192.168.1.0/24`, or a host's name); others are dropped and
counted.

- **Replies** go to the sender's address and port, and to every subscriber.
- **Elsewhere**: a message that ends with a URL and a path (`osc.udp://127.0.0.1:9131/ /here`, as liblo's and
  SooperLooper's users know it) is answered at that port: the answer that the table names comes at the path itself,
  everything else at the path and the last part of its own address (`/here/accepted`, `/here/done`). A host's name in
  the URL means the sender's own machine; another machine must be one that may speak to us.
- **Maps**: `--osc-map FILE` gives other programs' addresses a meaning, with feedback to them; see
  [touchosc.md](users/touchosc.md).
- **Arguments** in brackets may be left out from the end on; nil and `""` mean the default as well. Ints and floats are
  taken alike, as are true and false for 1 and 0. A number where a name is meant is written with `%g`: `4.0` names the
  take `4`.
- **Errors** come as `/soundforge/error s:address s:what`, one line that says what came, what was expected and what to
  do; for a datagram that is no OSC the address is empty. One sender is told of {ERRORS_PER_SECOND:g} a second at most.
- **Bundles** are carried out in order. A timetag up to {MAX_AHEAD_SECONDS:.0f} s ahead schedules
  ({MAX_WAITING} messages wait at most, {MAX_WAITING_PER_HOST} of one host); one that has passed is carried out at once.
- **Addresses** are matched exactly; patterns are not expanded.
- **Files** never come in by OSC: takes and clips have ids.
- **Subscriptions** end when they are ended, {SUBSCRIPTION_SECONDS / 3600:g} h after the last packet from their host,
  or when {MAX_SUBSCRIBERS} newer ones stand.
- **Limits** of a datagram: {MAX_MESSAGES} messages, bundles {MAX_DEPTH} deep, {MAX_ARGUMENTS} arguments. {TOTAL}
  packets wait at most, {PER_SENDER} of one sender; what finds no room is counted in `dropped`.

Type letters: `i` whole number, `f` number, `s` text.
"""


def page() -> str:
    """The whole page."""
    lines = [HEAD, "## What SoundForge understands", "", "| address | arguments | reply | |", "|---|---|---|---|"]
    lines += [_row(command) for command in COMMANDS]
    lines += ["", "### Arguments: ranges and defaults", "",
              "| address | argument | takes | when it is left out |", "|---|---|---|---|"]
    for command in COMMANDS:
        lines += [f"| `{command.address}` | `{argument}` | {argument.expected} | {_default(argument)} |"
                  for argument in command.arguments]
    lines += ["", "### Parameters", "", "| NAME | takes | default | |", "|---|---|---|---|"]
    lines += [_param(param) for param in [*PARAMS.values(), find_param("guidance/NAME")]]
    lines += ["", "*Live*: a change acts on running jobs, or on the sound at once; the others act on the next request.",
              "", "## What SoundForge sends", "", "| address | arguments | |", "|---|---|---|"]
    lines += [f"| `{address}` | {_code(arguments)} | {doc} |" for address, (arguments, doc) in REPLIES.items()]
    lines += ["", "*Job replies*: `/soundforge/job/accepted` at once, then `progress`, `playing` and `done`, or "
                  "`error`, or `cancelled`. Each begins with the job's id: the request's last argument, or one that "
                  "SoundForge made."]
    return "\n".join(lines) + "\n"


def _row(command: Command) -> str:
    reply = command.reply if " " in command.reply and not command.reply.startswith("/") else _code(command.reply)
    return f"| `{command.address}` | {_code(command.signature)} | {reply} | {command.doc} |"


def _param(param: Param) -> str:
    takes = {"text": "a text", "switch": "0 or 1", "integer": f"a whole number from {param.low:g} to {param.high:g}",
             "number": f"a number from {param.low:g} to {param.high:g}"}[param.kind]
    default = f"{param.default:g}" if not isinstance(param.default, str) else param.default or "empty"
    return f"| `{param.name}` | {takes} | {default} | {param.summary}{' · *live*' if param.live else ''} |"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _default(argument: Argument) -> str:
    if argument.required:
        return "required"
    return argument.absent or f"{argument.default}"


if __name__ == "__main__":
    write_page(page)
