"""From where on a change between two windows of rows is called drift (``operations.drift``)."""

from pydantic import Field

from configs.section import Count, Section


class Drift(Section):
    """Thresholds. What chance alone may have made is never called drift, whatever these say."""

    distance: float = Field(
        0.25,
        gt=0.0,
        le=100.0,
        description=(
            "population stability index of a feature beyond what chance gives: in credit scoring a"
            " change that needs a look (Siddiqi 2006)"
        ),
    )
    missing: float = Field(
        0.1,
        gt=0.0,
        le=1.0,
        description="change of the share of rows without a value: a source that fails moves more",
    )
    out_of_vocabulary: float = Field(
        0.2,
        gt=0.0,
        le=1.0,
        description=(
            "rise of the share of values without an id of their own: items come and go every day,"
            " and untrained ids get the vector of all unknown ones"
        ),
    )
    value: float = Field(
        0.05,
        gt=0.0,
        le=1.0,
        description=(
            "share from which on a single value is named that is new, or gone: one row in twenty"
            " has what the model has hardly seen"
        ),
    )
    calibration: float = Field(
        0.2,
        gt=0.0,
        le=100.0,
        description=(
            "how far predicted over observed may be from 1 in a domain: bids and mixed pages read"
            " probabilities (our choice)"
        ),
    )
    age: float = Field(
        1.0,
        gt=0.0,
        le=100.0,
        description=(
            "AUC points that the zero-shot backbone has lost and kernels do not recover, from"
            " which on pre-training anew is proposed; more than another seed changes (our choice)"
        ),
    )
    level: float = Field(
        0.001,
        gt=0.0,
        lt=1.0,
        description=(
            "chance of calling anything drift where nothing has changed, shared by all features:"
            " one false alarm in some three years of days"
        ),
    )
    rows: Count = Field(
        200_000,
        description="rows that are read of each side, evenly over its files",
    )
