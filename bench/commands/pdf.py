"""The report as a PDF, printed by a browser: what `postbench report --pdf` does."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.commands import terminal
from bench.commands.report import to_file, write_pages
from bench.errors import UserError
from bench.store import Store

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


def write_pdf(folder: Path, path: Path, problems: Sequence[str]) -> None:
    """Print the page of a run to a PDF, as a browser prints it, and say where it is.

    Args:
        folder: of the run.
        path: where to.
        problems: those to draw; none for all.

    Raises:
        UserError: if playwright or a browser is missing, or the file cannot be written.
    """
    if path.is_dir():
        raise UserError(f"--pdf {path}: there is a folder of that name; name a file.")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        from playwright.sync_api import Error, sync_playwright
    except ModuleNotFoundError:
        raise UserError(
            "--pdf needs playwright, which `python3 -m pip install 'postbench[browser]'` installs."
        ) from None
    if browser is None:
        raise UserError(
            "--pdf needs Chromium, of the system's packages (`apt-get install chromium`); or print"
            " report.html from any browser."
        )
    with tempfile.TemporaryDirectory(prefix="postbench-") as place:
        html = Path(place) / "report.html"
        write_pages(Store(folder, create=False), html, None, problems)

        def printed(part: Path) -> None:
            with sync_playwright() as found:
                opened = found.chromium.launch(executable_path=browser, args=list(QUIET))
                page = opened.new_page()
                page.goto(html.as_uri())
                page.pdf(path=part, print_background=True, prefer_css_page_size=True)
                opened.close()

        try:
            to_file(path, printed)
        except Error as error:
            first = str(error).partition("\n")[0]
            raise UserError(f"--pdf: {browser} did not print the page ({first}).") from None
    terminal.console().print(str(path), soft_wrap=True)
