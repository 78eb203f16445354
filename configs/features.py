"""What a feature is: its raw column, its side, and how it becomes ids or numbers."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from configs.section import Section, TimeZoneName

Side = Literal["user", "item", "context"]


class Vocabulary(Section):
    """Values kept with an id of their own, counted on what the backbone learns from
    (``Experiment.fitted_on``) and nothing else.
    """

    min_count: PositiveInt = 1
    max_size: PositiveInt = 1_000_000


class _Feature(Section):
    side: Side
    column: str | None = Field(None, description="raw column; the feature's own name where absent")


class _Embedded(_Feature):
    dimension: PositiveInt | None = Field(
        None, description="embedding width; backbone.embedding_dimension where absent"
    )


class _Categorical(_Embedded):
    vocabulary: Vocabulary | None = None
    hash_buckets: PositiveInt | None = Field(
        None, description="hash into this many ids instead of keeping a vocabulary"
    )
    oov_buckets: PositiveInt = Field(1, description="ids for values outside the vocabulary")
    id_dropout: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description=(
            "share of known ids that pre-training replaces by an out-of-vocabulary id, so that its"
            " row is trained"
        ),
    )

    @model_validator(mode="after")
    def _one_way_to_ids(self) -> "_Categorical":
        if self.vocabulary and self.hash_buckets:
            raise ValueError("both 'vocabulary' and 'hash_buckets' are given; expected one of them")
        if self.hash_buckets and (self.id_dropout or self.oov_buckets != 1):
            raise ValueError(
                "hashed ids have no out-of-vocabulary ids; 'id_dropout' and 'oov_buckets' cannot be"
                " given beside 'hash_buckets'"
            )
        return self

    @property
    def shared_ids(self) -> int:
        """Ids below this one stand for several values or none: missing and, beside a vocabulary,
        all values outside it.
        """
        return 1 if self.hash_buckets else 1 + self.oov_buckets


class CategoricalFeature(_Categorical):
    """One value a row, read as a string. Missing (null or empty) is id 0."""

    kind: Literal["categorical"]


class ListFeature(_Categorical):
    """A list of values a row, cut or padded to ``max_length``; ``shares`` names a categorical
    feature whose ids and table it uses.
    """

    kind: Literal["list"]
    max_length: Annotated[int, Field(ge=1, le=1000)] = 20
    shares: str | None = None
    attention: bool = Field(
        False,
        description=(
            "pool by target attention with the shared feature as query; mean pooling otherwise"
        ),
    )

    @model_validator(mode="after")
    def _shared_or_own(self) -> "ListFeature":
        if self.shares and (self.vocabulary or self.hash_buckets or self.dimension):
            raise ValueError(
                "'shares' takes ids and table from another feature; 'vocabulary', 'hash_buckets'"
                " and 'dimension' cannot be given beside it"
            )
        if self.attention and not self.shares:
            raise ValueError("'attention' needs 'shares': the feature it shares with is the query")
        return self


class NumericFeature(_Embedded):
    """One number a row. Missing (null) becomes the mean, 0 after standardising, or bucket 0."""

    kind: Literal["numeric"]
    log1p: bool = Field(False, description="sign(x) * log(1 + |x|) before anything else")
    standardise: bool = True
    quantile_buckets: Annotated[int, Field(ge=2, le=1000)] | None = Field(
        None, description="embed the quantile bucket instead of feeding the number"
    )


class TimestampFeature(_Embedded):
    """The row's moment as embedded parts, in ``time_zone``."""

    kind: Literal["timestamp"]
    parts: tuple[Literal["hour", "weekday"], ...] = ("hour", "weekday")
    time_zone: TimeZoneName = "UTC"


class CrossFeature(Section):
    """The values of several columns of a row as one id, hashed; missing (id 0) where one of them
    is.

    The table's size is the config's choice, not the data's: a row's id is its hash, so ids that no
    row had before need no vocabulary, and ids that hash alike share a row of the table (Cheng et
    al. 2016, Wide & Deep Learning, section 3.1, crosses features this way). ``side`` is the item's
    where a column of it is; columns that no other feature reads are of that side.
    """

    kind: Literal["cross"]
    side: Side
    columns: Annotated[
        tuple[str, ...],
        Field(min_length=2, description="raw columns read as strings, joined in this order"),
    ]
    hash_buckets: Annotated[int, Field(ge=1, lt=2**31 - 1, description="ids are 1..hash_buckets")]
    dimension: PositiveInt | None = Field(
        None, description="embedding width; backbone.embedding_dimension where absent"
    )

    @model_validator(mode="after")
    def _different_columns(self) -> "CrossFeature":
        for column in self.columns:
            if self.columns.count(column) > 1:
                raise ValueError(f"'columns' names '{column}' twice; expected different columns")
        return self


Feature = Annotated[
    CategoricalFeature | ListFeature | NumericFeature | TimestampFeature | CrossFeature,
    Field(discriminator="kind"),
]
