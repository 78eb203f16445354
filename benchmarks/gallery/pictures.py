"""Pictures of pages, by a browser without a window."""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import matplotlib.image

from configs.errors import InputError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--allow-file-access-from-files",
)
_SECONDS = 300
_NARROWEST = 500
"""Pixels: a browser's window is no narrower, so a narrower page stands in a frame."""


@dataclass(frozen=True)
class View:
    """How a page is looked at.

    Attributes:
      name: in names of files.
      width, height: pixels of the picture.
      dark: whether dark colours are preferred.
    """

    name: str
    width: int
    height: int
    dark: bool = False


LIGHT, DARK = View("light", 1400, 1050), View("dark", 1400, 1050, dark=True)
NARROW = View("narrow", 420, 900)
NARROW_DARK = View("narrow-dark", 420, 900, dark=True)
VIEWS = (LIGHT, DARK, NARROW, NARROW_DARK)


def find_browser() -> str | None:
    """The browser's path; None where there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def take_picture(browser: str, page: Path, view: View, picture: Path) -> None:
    """Draws the top of a page into a PNG file, with no host reachable.

    Raises:
      InputError: the browser gives no picture.
    """
    with tempfile.TemporaryDirectory() as profile:
        address = page.resolve().as_uri()
        if view.width < _NARROWEST:
            frame = Path(profile) / "frame.html"
            size = f"width={view.width} height={view.height} style='border:0;display:block'"
            frame.write_text(
                "<!DOCTYPE html><meta name=color-scheme content='light dark'>"
                f"<body style='margin:0'><iframe src='{address}' {size}></iframe>",
                encoding="utf-8",
            )
            address = frame.as_uri()
        words = [
            browser,
            *_FLAGS,
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--blink-settings=preferredColorScheme={0 if view.dark else 1}",
            f"--user-data-dir={profile}/profile",
            f"--window-size={max(view.width, _NARROWEST)},{view.height}",
            f"--screenshot={picture.resolve()}",
            address,
        ]
        try:
            done = subprocess.run(  # noqa: S603 - a browser found on PATH
                words, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise InputError(f"{browser}: no picture of {page} in {_SECONDS} s") from None
    if done.returncode or not picture.is_file():
        last = next(reversed(done.stderr.strip().splitlines()), "no message")
        raise InputError(f"{browser}: no picture of {page}: {last}; or give --no-pictures")
    if view.width < _NARROWEST:
        matplotlib.image.imsave(picture, matplotlib.image.imread(picture)[:, : view.width])
