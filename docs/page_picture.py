"""`python -m docs.page_picture URL OUT.png`: a picture of the operator's page as it stands, by a headless Chromium."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import sync_playwright

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def take(url: str, out: Path, size: tuple[int, int], settle_s: float, view: str) -> None:
    """Open `url` and its `view`, give cameras and curve `settle_s` to arrive, and write the page as PNG."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(QUIET))
        page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        page.goto(url)
        page.click("#help-close")
        page.click(f"#show-{view}")
        page.wait_for_timeout(settle_s * 1000)
        out.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(out))
        browser.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Take one picture."""
    parser = argparse.ArgumentParser(prog="python -m docs.page_picture", description=__doc__)
    parser.add_argument("url", help="address that `robot-rl run` prints")
    parser.add_argument("out", type=Path, help="file to write (.png)")
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 720), help="pixels (default: 1280 720)")
    parser.add_argument("--settle", type=float, default=3.0, help="s (default: %(default)s)")
    parser.add_argument("--view", choices=("run", "learning"), default="run", help="(default: %(default)s)")
    arguments = parser.parse_args(argv)
    take(arguments.url, arguments.out, tuple(arguments.size), arguments.settle, arguments.view)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
