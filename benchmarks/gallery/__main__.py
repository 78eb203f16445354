"""``python -m benchmarks.gallery --output DIR``: every page that the program writes, made by one
small simulated run, and ``index.html`` with a line and pictures of each.

Pictures want Chromium or Chrome on PATH; without one the index has links alone.
"""

from pathlib import Path

from benchmarks.gallery.index_page import write_index, write_text_page
from benchmarks.gallery.pictures import BROWSERS, VIEWS, View, find_browser, take_picture
from benchmarks.gallery.steps import PAGES, STEPS, SUMMARY
from configs.cli import CommandParser, run
from configs.files import replaced_folder, write_unsynced
from preprocessing.beam.progress import say

MARK = "_gallery.txt"
"""Lists the commands, and tells a folder that this command made and may replace."""


def main() -> None:
    """The command."""
    parser = CommandParser(prog="python -m benchmarks.gallery", description=__doc__)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/gallery"),
        metavar="DIR",
        help="folder of the gallery; an earlier one in it is replaced (runs/gallery)",
    )
    parser.add_argument(
        "--no-pictures", action="store_true", help="links alone, also where there is a browser"
    )
    arguments = parser.parse_args()
    make_gallery(arguments.output, pictures=not arguments.no_pictures)
    print(arguments.output / "index.html")


def make_gallery(output: Path, *, pictures: bool) -> None:
    """Makes the gallery, all or nothing.

    Raises:
      InputError: a command fails, the browser gives no picture, or the folder is another's or
        cannot be written.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with replaced_folder(output, MARK) as folder:
        (folder / "run").mkdir()
        for step in STEPS:
            step.run(folder)
        for page in PAGES:
            if page.name == "refresh":
                write_text_page(folder / page.path, page.title, (folder / SUMMARY).read_text())
        write_index(folder / "index.html", PAGES, _pictures(folder) if pictures else {})
        write_unsynced(folder / MARK, "".join(f"{step}\n" for step in STEPS).encode())


def _pictures(folder: Path) -> dict[tuple[str, View], Path]:
    browser = find_browser()
    if browser is None:
        say(f"gallery: no pictures, since no browser is on PATH; looked for {', '.join(BROWSERS)}")
        return {}
    found = {}
    (folder / "pictures").mkdir()
    for page in PAGES:
        for view in VIEWS:
            found[page.name, view] = folder / "pictures" / f"{page.name}-{view.name}.png"
            take_picture(browser, folder / page.path, view, found[page.name, view])
    return found


if __name__ == "__main__":
    run(main)
