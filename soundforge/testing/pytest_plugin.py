"""The conformance kit inside pytest: `pytest --soundforge-plugin NAME` checks a plugin, part by part.

NAME is an installed distribution, the name of its entry point, or a module; the option may be repeated. Without it
this plugin does nothing: it imports nothing of SoundForge and adds no test. Fixtures for plugins' own tests:

- `soundforge_host`: a host with everything that is installed.
- `soundforge_context`: a `ConditionContext` of two seconds at 50 frames per second.
- `soundforge_tiny_engine`: an engine with a tiny random model and three slots (text, mood, pulse).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

OPTION = "--soundforge-plugin"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option."""
    parser.getgroup("soundforge").addoption(
        OPTION, action="append", default=[], metavar="NAME", dest="soundforge_plugins",
        help="check this SoundForge plugin (distribution, entry point, or module); may be repeated")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add one item for each part of the named plugins."""
    for name in config.getoption("soundforge_plugins"):
        from soundforge.errors import InputError
        from soundforge.testing.parts import checks_of

        try:
            checks = checks_of(name)
        except InputError as error:
            raise pytest.UsageError(f"{OPTION}: {error}") from error
        items.extend(PluginCheckItem.from_parent(session, name=f"{name}::{check.name}", check=check)
                     for check in checks)


class PluginCheckItem(pytest.Item):
    """One part's check."""

    def __init__(self, *, check: Any, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.check = check

    def runtest(self) -> None:
        """Run it; what needs weights is skipped with the reason."""
        from soundforge.testing.parts import LeftToItsTestsError

        try:
            self.check.run()
        except LeftToItsTestsError as reason:
            pytest.skip(str(reason))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """One line for a breach of the contract, the whole trace for anything else."""
        if isinstance(excinfo.value, AssertionError):
            return f"{self.check.name}: {excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Where it stands: no file, its own name."""
        return self.path, None, self.name


@pytest.fixture(scope="session")
def soundforge_host() -> Any:
    """A host with everything that is installed."""
    from soundforge.host import create_host

    return create_host()


@pytest.fixture
def soundforge_context() -> Any:
    """Two seconds at 50 frames per second."""
    from soundforge.testing.conditioners import DEFAULT_CONTEXT

    return DEFAULT_CONTEXT


@pytest.fixture
def soundforge_tiny_engine(soundforge_host: Any) -> Iterator[Any]:
    """An engine with a tiny random model."""
    from soundforge.testing.tiny_model import tiny_engine

    with tiny_engine(host=soundforge_host) as engine:
        yield engine
