"""The console's tests do not depend on the terminal and settings of whoever runs them."""

import pytest
from sharedstate_cli import watch


@pytest.fixture(autouse=True)
def _no_console_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "SHAREDSTATE_FORMAT",
        "SHAREDSTATE_TRACEBACK",
        "NO_COLOR",
        "FORCE_COLOR",
        "COLUMNS",
        "LINES",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def rounds(monkeypatch):
    """Ctrl-C comes in the third wait; in those before, whatever the test puts here."""
    happens = [lambda: None, lambda: None]
    waited = []

    def sleep(seconds):
        waited.append(seconds)
        if not happens:
            raise KeyboardInterrupt
        happens.pop(0)()

    monkeypatch.setattr(watch.time, "sleep", sleep)
    return happens, waited
