"""A row that the format of its file cannot read."""

from typing import NamedTuple


class BrokenRow(NamedTuple):
    """A row the format itself cannot read: number in the file, rule it broke, what was received,
    its text.
    """

    row: int
    rule: str
    received: str | None
    text: str
