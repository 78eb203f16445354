"""Figures as people read them: titles and points."""

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
