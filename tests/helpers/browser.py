"""Pages in a headless Chromium: what their console says, what they ask of a net, and an audit of
their contrast and of their use by keyboard.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")


@contextmanager
def launched() -> Iterator[Any]:
    """The browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as found:
        opened = found.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield opened
        opened.close()


@contextmanager
def watched(browser: Any, path: Path, width: int = 1400, scheme: str = "light") -> Iterator[Any]:
    """A page in a window of its own. At the end nothing may have been said in its console, and
    nothing have been asked of a net.
    """
    opened = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(path.as_uri())
    yield opened
    opened.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []


def violations(opened: Any) -> list[tuple[str, str]]:
    """What axe finds fault with: the rule, and the first element that breaks it."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(opened).response["violations"]
    return [(each["id"], each["nodes"][0]["html"]) for each in found]
