"""Figures as people read them: titles, points, columns of one width."""

from collections.abc import Container, Sequence

METRIC_TITLES = {
    "auc": "AUC",
    "gauc": "GAUC",
    "log_loss": "log loss",
    "ne": "NE",
    "mae": "MAE",
    "rmse": "RMSE",
    "pcoc": "PCOC",
}
"""Metrics as people read them."""


PAGE_TITLES = {"ndcg": "NDCG", "mrr": "MRR", "recall": "recall", "gauc": "GAUC"}
"""Metrics of pages as people read them."""


POINTS = 100.0
"""AUC points in 1."""


def is_number(figure: object) -> bool:
    """Whether a figure of the result is a number and not ``"undefined"``."""
    return isinstance(figure, int | float) and not isinstance(figure, bool)


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
