"""Features that are numbers or moments: one number a row, or several."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from configs.features.ids import ListLength
from configs.features.settings import Embedded, FeatureSettings, OneColumn, ReadAs
from configs.prediction.expressions import LONGEST, names_in
from configs.section import Section, TimeZoneName

Encoding = Literal["value", "piecewise_linear", "periodic", "soft_buckets"]
Bins = Annotated[int, Field(ge=2, le=256)]
QuantileBuckets = Annotated[int, Field(ge=2, le=1000)]


class Numbers(Section):
    """How numeric features enter the backbone that say neither ``encoding`` nor
    ``quantile_buckets`` themselves.
    """

    encoding: Encoding = Field(
        "value", description="how a number enters the backbone: as it is, or as a learned vector"
    )
    bins: Bins = Field(32, description="pieces, frequencies or vectors of the encoding")
    quantile_buckets: QuantileBuckets | None = Field(
        None, description="embed the quantile bucket instead of feeding the number"
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> "Numbers":
        _check_one_way(self.encoding, self.quantile_buckets)
        return self

    def fill(self, feature: object) -> object:
        """The YAML of a feature with these settings, where they are wanted."""
        if (
            not isinstance(feature, dict)
            or feature.get("kind") != "numeric"
            or {"encoding", "quantile_buckets"} & feature.keys()
        ):
            return feature
        own = self.model_dump(exclude_none=True)
        return {**own, **feature}


def _check_one_way(encoding: Encoding, quantile_buckets: int | None) -> None:
    if quantile_buckets and encoding != "value":
        raise ValueError(
            f"both 'quantile_buckets' and 'encoding: {encoding}' are given; expected one of them"
        )


class NumericFeature(Embedded):
    """One number a row. Missing (null) becomes the mean, 0 after standardising, or bucket 0."""

    read_as = "number"
    younger = frozenset({"expression", "encoding", "bins"})

    kind: Literal["numeric"]
    expression: str | None = Field(
        None,
        max_length=LONGEST,
        description=(
            "of columns of numbers, in the place of 'column'; missing where one of them is, or"
            " where it is no finite number"
        ),
    )
    log1p: bool = Field(False, description="sign(x) * log(1 + |x|) before anything else")
    standardise: bool = Field(
        True,
        description="take off the mean and divide by the deviation of the fitted rows",
    )
    quantile_buckets: QuantileBuckets | None = Field(
        None, description="embed the quantile bucket instead of feeding the number"
    )
    encoding: Encoding = Field(
        "value",
        description=(
            "how the number enters the backbone: as it is, or as a learned vector"
            " (trainer.backbone.layers.number_encoding)"
        ),
    )
    bins: Bins = Field(
        32,
        description=(
            "pieces of 'piecewise_linear', frequencies of 'periodic', vectors of 'soft_buckets'"
        ),
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> "NumericFeature":
        if self.expression is not None:
            if self.column:
                raise ValueError("both 'column' and 'expression' are given; expected one of them")
            try:
                names_in(self.expression, "column")
            except ValueError as error:
                raise ValueError(f"expression: {error}") from None
        _check_one_way(self.encoding, self.quantile_buckets)
        return self

    def reads(self, name: str, features: Mapping[str, FeatureSettings]) -> dict[str, ReadAs]:
        if self.expression is None:
            return super().reads(name, features)
        return dict.fromkeys(names_in(self.expression, "column"), self.read_as)

    def decisive(self) -> dict[str, object]:
        settings = super().decisive()
        if self.encoding in ("periodic", "soft_buckets"):  # of the backbone alone
            settings = {key: settings[key] for key in settings if key not in ("encoding", "bins")}
        return settings

    @property
    def can_debias(self) -> bool:
        return self.expression is None

    @property
    def joins_columns(self) -> bool:
        return self.expression is not None

    @property
    def can_be_crossed(self) -> bool:
        return self.quantile_buckets is not None

    @property
    def expressed(self) -> str | None:
        return self.expression

    @property
    def number_encoding(self) -> tuple[str, int]:
        return self.encoding, self.bins


class VectorFeature(Embedded):
    """A list of ``size`` numbers a row, such as an item's content embedding of another model; all
    are standardised by one mean and one deviation. A row without one has zeros.
    """

    read_as = "numbers"

    kind: Literal["vector"]
    size: Annotated[int, Field(ge=1, le=4096, description="numbers of a row")]
    log1p: bool = Field(False, description="sign(x) * log(1 + |x|) before anything else")
    standardise: bool = Field(True, description="all its numbers by one mean and one deviation")

    @property
    def vector_size(self) -> int:
        return self.size

    @property
    def numbers(self) -> int:
        """How many each row gives."""
        return self.size


class NumberListFeature(OneColumn):
    """A number for each entry of a list, such as the time since each click; missing ones are the
    mean, 0 after standardising.
    """

    read_as = "numbers"

    kind: Literal["number_list"]
    along: str = Field(description="list whose entries the numbers belong to, one by one")
    max_length: ListLength = Field(
        20, description="entries that are read, as many as of the list that it stands along"
    )
    log1p: bool = Field(False, description="sign(x) * log(1 + |x|) before anything else")
    standardise: bool = Field(True, description="take off the mean and divide by the deviation")

    @property
    def belongs_to(self) -> str:
        return self.along

    @property
    def list_length(self) -> int:
        return self.max_length

    @property
    def numbers(self) -> int:
        """How many each row gives."""
        return self.max_length


class TimestampFeature(Embedded):
    """The row's moment as embedded parts, in ``time_zone``."""

    read_as = "timestamp"

    kind: Literal["timestamp"]
    parts: tuple[Literal["hour", "weekday"], ...] = Field(
        ("hour", "weekday"), description="of the local moment that get a vector each"
    )
    time_zone: TimeZoneName = Field("UTC", description="whose clock is read")

    def output_names(self, name: str) -> tuple[str, ...]:
        return tuple(f"{name}_{part}" for part in self.parts)

    @property
    def can_be_crossed(self) -> bool:
        return True
