"""Defines what ``operations.refresh`` refuses to release."""

from typing import Annotated

from pydantic import Field

from configs.section import CountOrNone, Section, Weight

_Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Refresh(Section):
    """Where the daily refresh stops: nothing is released, and it ends with exit code 3. A
    threshold that is null is not looked at (defaults are our choice).
    """

    least_rows: _Share | None = Field(
        0.3,
        description=(
            "rows of a day that judges, at least, as a share of the median of the days that kernels"
            " learn from: logs that are cut short. Globo's quietest day has 0.47 of it"
        ),
    )
    most_rows: Weight | None = Field(
        3.0,
        description=(
            "the same, at most: logs that came several times. Globo's first working day has 2.1"
            " times as many; rows that came twice are found by data.row_key"
        ),
    )
    most_rejected: _Share | None = Field(
        0.02, description="share of the rows of the logs that are rejected, at most"
    )
    more_out_of_vocabulary: _Share | None = Field(
        0.3,
        description=(
            "how much larger a feature's share of values without an id of their own may be in the"
            " rows that judge than in those that kernels learn from: ids that are written in"
            " another way"
        ),
    )
    broken_features: bool = Field(
        True,
        description=(
            "whether a feature stops it that has one value alone in a split, or none, and had"
            " several where the backbone learned"
        ),
    )
    most_auc_fall: _Share | None = Field(
        0.05,
        description=(
            "how much lower the AUC of what is served may be on the rows that judge today than it"
            " was on those of the refresh before, mean of the tasks over all rows"
        ),
    )
    most_deactivated: _Share | None = Field(
        0.3,
        description=(
            "share of the active kernels that may be deactivated at once; more than"
            " 'few_deactivated' have to be"
        ),
    )
    few_deactivated: CountOrNone = Field(
        2, description="so many kernels may be deactivated at once, whatever share they are"
    )
