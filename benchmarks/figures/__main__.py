"""``python -m benchmarks.figures``: rewrites the tables between ``<!-- figures: NAME -->`` and
``<!-- end -->`` in README and docs, and the README's plot, from what the studies leave.

A table STUDY/SECTION/SPLIT comes from REPORTS/STUDY/report.json, or, where that is not there, from
what an earlier run kept of it in docs/results/STUDY.json. Where neither is there, it stays as it
is, and is named. Studies leave such reports, and other commands write them with --report. The
README's table 'gains' and its plot come from docs/results.md.
"""

import sys
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any

from benchmarks.figures.marked_page import MarkedPage
from benchmarks.figures.tables import GAINS, Content, gains_table, markdown, shown, study_table
from benchmarks.results_plot import COLOURS, describe, draw, read_gains
from configs.cli import CommandParser, run
from configs.errors import InputError
from configs.files import read_object, write_bytes, write_json

ROOT = Path(__file__).parents[2]


def main() -> None:
    """The command. Raises ``InputError``: with ``--check``, where anything differs."""
    parser = CommandParser(
        prog="python -m benchmarks.figures",
        description=__doc__,
    )
    parser.add_argument(
        "--reports",
        type=Path,
        default=Path("runs/method"),
        metavar="DIR",
        help="holds NAME/report.json of studies and commands (runs/method)",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where something would change"
    )
    arguments = parser.parse_args()
    figures = Figures(ROOT, arguments.reports)
    changed = figures.changes()
    for name, table in figures.left.items():
        print(f"stays: {name} (in {table}): no report of it", file=sys.stderr)
    if arguments.check:
        if changed:
            names = ", ".join(path.relative_to(ROOT).as_posix() for path in changed)
            raise InputError(f"not as the reports say: {names}; run python -m benchmarks.figures")
        print("as the reports say")
        return
    for path, content in changed.items():
        path.parent.mkdir(exist_ok=True)
        if isinstance(content, dict):
            write_json(path, content)
        else:
            write_bytes(path, content.encode())
        print(path.relative_to(ROOT))


@dataclass
class Figures:
    """What README and docs should hold.

    Attributes:
      root: of the repository.
      reports: folder of the studies' reports.
      left: names of tables that no report was found of -> their page.
    """

    root: Path
    reports: Path
    left: dict[str, str] = field(default_factory=dict)

    def changes(self) -> dict[Path, str | dict[str, Any]]:
        """File -> its new text, or object, of those that change.

        Raises:
          InputError: markers, a report or a table are not as they should be.
        """
        found: dict[Path, str | dict[str, Any]] = {}
        tables: dict[str, str] = {}
        pages = sorted((self.root / "docs").glob("*.md"))
        kept: dict[str, dict[str, Content]] = {}
        for path in (*pages, self.root / "README.md"):  # the README's table is made of the docs'
            page = MarkedPage(path.read_text(encoding="utf-8"), path.name)
            contents = {
                name: content
                for name in page.names
                if (content := self._content(page, name, path.name, tables, kept)) is not None
            }
            tables |= {name: contents.get(name, page.content(name)) for name in page.names}
            new = page.replaced({n: c for n, c in contents.items() if c != page.content(n)})
            if new != path.read_text(encoding="utf-8"):
                found[path] = new
            if path.name == "results.md":
                found |= self._plots(new)
        for study, cells in kept.items():
            place = self._kept(study)
            if not place.is_file() or read_object(place) != cells:
                found[place] = cells
        return found

    def _content(
        self,
        page: MarkedPage,
        name: str,
        where: str,
        tables: dict[str, str],
        kept: dict[str, dict[str, Content]],
    ) -> str | None:
        if name == GAINS:
            return gains_table(tables)
        study, parts = name.partition("/")[0], name.count("/")
        if parts != 2:
            raise InputError(
                f"{where}: figures '{name}': expected STUDY/SECTION/SPLIT, or '{GAINS}'"
            )
        report = self.reports / study / "report.json"
        if report.is_file():
            cells = study_table(read_object(report, "sections"), name)
            cells = shown(cells, page.columns[name], name)
            kept.setdefault(study, {})[name] = cells
            return markdown(cells)
        if self._kept(study).is_file() and name in (known := read_object(self._kept(study))):
            return markdown(known[name])
        self.left[name] = where
        return None

    def _kept(self, study: str) -> Path:
        return self.root / "docs" / "results" / f"{study}.json"

    def _plots(self, results: str) -> dict[Path, str]:
        """The README's plot where it shows other figures than the table; its bytes also depend on
        the version of Matplotlib.
        """
        gains, found = read_gains(results), {}
        for name, colours in COLOURS.items():
            path = self.root / "docs" / "images" / f"results-{name}.svg"
            drawn = unescape(path.read_text(encoding="utf-8")) if path.is_file() else ""
            if describe(gains) not in drawn:
                found[path] = draw(gains, colours)
        return found


if __name__ == "__main__":
    run(main)
