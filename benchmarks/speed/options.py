"""What every section is given."""

from dataclasses import dataclass
from pathlib import Path

from configs import InputError

Figures = dict[str, float | int | str]
"""What a section returns: one flat object. A name ends in its unit (``_seconds``, ``_ms``,
``_rows_per_s``, ``_mib``, ``_gflops``) or in ``_ratio``; a text says what was not measured and
why."""


@dataclass(frozen=True)
class Options:
    """How a section is run.

    Attributes:
      input: the folder that holds ``globo/*.parquet``.
      folder: of this section alone, for its datasets, jobs and models; left for the next run.
      quick: sizes that show that everything runs; the times mean nothing.
    """

    input: Path
    folder: Path
    quick: bool

    def globo(self) -> list[Path]:
        """The log's files, one a day, in order.

        Raises:
          InputError: there are none.
        """
        files = sorted((self.input / "globo").glob("*.parquet"))
        if not files:
            raise InputError(f"{self.input}: holds no globo/*.parquet; give --input or RECSYS_DATA")
        return files
