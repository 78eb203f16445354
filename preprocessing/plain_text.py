"""Plain text for people: columns of one width, and characters that can be printed."""

from collections.abc import Container, Sequence


def align(rows: Sequence[Sequence[str]], right: Container[str] = ("rows",)) -> list[str]:
    """Rows of cells, titles first, as lines with columns of one width, two spaces apart; columns
    with a title in ``right`` keep right.
    """
    columns = []
    for column in zip(*rows, strict=True):
        width = max(len(cell) for cell in column)
        columns.append(
            [cell.rjust(width) if column[0] in right else cell.ljust(width) for cell in column]
        )
    return ["  ".join(cells) for cells in zip(*columns, strict=True)]


def printable(text: str) -> str:
    """A text in which a character that cannot be printed is a replacement character."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
