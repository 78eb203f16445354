"""The folder that a job writes: filled aside in ``.partial``, finished when its marker is there; on
a disk as on any other filesystem of Beam's.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from configs import InputError
from configs.asides import work_folder
from configs.files import check_no_pattern
from preprocessing import filesystem

PARTIAL = ".partial"


@dataclass(frozen=True)
class OutputFolder:
    """Where a job writes.

    Attributes:
      path: the folder, local or not.
      marker: name of the file that is moved into place last.
      loose: names of the other files that lie in the folder itself; the rest lies in folders.
    """

    path: str
    marker: str
    loose: tuple[str, ...] = ()

    @property
    def partial(self) -> str:
        """Where everything happens until the last moment."""
        return filesystem.join(self.path, PARTIAL)

    def check(self, ours: re.Pattern[str], found: str, expected: str) -> None:
        """Refuses a folder in which a job may not write.

        Args:
          ours: matches, relative to the folder, what a former or a killed run may have left.
          found: what other files are, in words.
          expected: what may be there, in words.

        Raises:
          InputError: a file, a path that is a pattern, or a folder with other files.
        """
        check_no_pattern(self.path)
        if (
            filesystem.is_local(self.path)
            and Path(self.path).exists()
            and not Path(self.path).is_dir()
        ):
            raise InputError(f"{self.path}: expected a folder, received a file")
        foreign = [path for path in filesystem.list_files(self.path) if not ours.fullmatch(path)]
        if foreign:
            raise InputError(
                f"{self.path}: holds {found}, such as {foreign[0]}; expected {expected}"
            )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Empties ``.partial`` of what a killed run left, and deletes it in the end. Of two runs
        on a local filesystem the second is refused.
        """
        if filesystem.is_local(self.partial):
            with work_folder(Path(self.partial)):
                yield
            return
        filesystem.delete_folder(self.partial)
        yield
        filesystem.delete_folder(self.partial)

    def publish(self, paths: Iterable[str], marker: bytes) -> None:
        """Takes a former result away, marker first, and moves the new one into place, marker last.

        Args:
          paths: what is listed of the new result, relative to ``.partial``; a worker that died may
            have left half a file beside them.
          marker: its content.
        """
        filesystem.write(filesystem.join(self.partial, self.marker), marker)
        names = (self.marker, *self.loose)
        filesystem.delete([filesystem.join(self.path, name) for name in names])
        former = {path.partition("/")[0] for path in filesystem.list_files(self.path)} - {PARTIAL}
        for folder in sorted(former):
            filesystem.delete_folder(filesystem.join(self.path, folder))
        self._move(list(paths))
        self._move([self.marker])

    def _move(self, paths: Collection[str]) -> None:
        filesystem.move(
            [
                (filesystem.join(self.partial, path), filesystem.join(self.path, path))
                for path in paths
            ]
        )
