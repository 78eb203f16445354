"""A profile as cells of tables, for the command and for reports."""

from collections.abc import Mapping

from configs.terminal.plain_text import printable
from preprocessing.profile.data_profile import DataProfile, Description

_SHOWN_VALUES = 3
_LETTERS = 20  # of a value


def feature_cells(profile: DataProfile) -> list[list[str]]:
    """Titles, and a line for each feature and split: features that change first, then by distance;
    the feature's name stands in its first line.
    """
    rows = [
        [
            "feature",
            "split",
            "missing",
            "outside vocabulary",
            "mean",
            "deviation",
            "5%",
            "median",
            "95%",
            "distance",
            "most frequent",
        ]
    ]
    for name in profile.furthest_first():
        first = f"{name} ({profile.features[name].kind})"
        for split, found in profile.features[name].splits.items():
            quantiles = found.quantiles or {}
            rows.append(
                [
                    first,
                    split,
                    show_share(found.missing),
                    show_share(found.out_of_vocabulary),
                    show_number(found.mean),
                    show_number(found.deviation),
                    *(show_number(quantiles.get(level)) for level in ("0.05", "0.5", "0.95")),
                    show_distance(found),
                    show_top(found.top),
                ]
            )
            first = ""
    return rows


def label_cells(profile: DataProfile) -> list[list[str]]:
    """Titles, and a line for each domain that has rows: in every split with rows the mean of every
    label, which of a label of 0 and 1 is its rate.
    """
    splits = [split for split, domains in profile.labels.items() if domains]
    labels = list(dict.fromkeys(label for split in splits for label in _labels(profile, split)))
    domains = dict.fromkeys(name for split in splits for name in profile.labels[split])
    rows = [["domain", *(f"{label}, {split}" for label in labels for split in splits)]]
    for domain in domains:
        found = [profile.labels[split].get(domain) for split in splits]
        rates = [rates.rates.get(label) if rates else None for label in labels for rates in found]
        rows.append([printable(domain), *map(show_number, rates)])
    return rows


def show_share(share: float | None) -> str:
    """``12.3%``; empty where there is none."""
    return "" if share is None else f"{share:.1%}"


def show_number(number: float | None) -> str:
    """Four digits; empty where there is none."""
    return "" if number is None else f"{number:.4g}"


def show_distance(found: Description) -> str:
    """``0.251``; empty where there is none."""
    return "" if found.distance is None else f"{found.distance:.3f}"


def show_top(top: Mapping[str, float] | None) -> str:
    """``mobile 61%, tablet 3%``."""
    pairs = list((top or {}).items())[:_SHOWN_VALUES]
    return ", ".join(f"{_short(value)} {share:.0%}" for value, share in pairs)


def _short(value: str) -> str:
    text = printable(value)
    return text if len(text) <= _LETTERS else f"{text[:_LETTERS]}..."


def _labels(profile: DataProfile, split: str) -> list[str]:
    return list(next(iter(profile.labels[split].values())).rates)
