"""The console's tests do not depend on the terminal and settings of whoever runs them."""

import pytest


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
