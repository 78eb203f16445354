"""What a feature is: its raw column, its side, and how it becomes ids or numbers."""

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from configs.section import Count, Section, TimeZoneName, Width

Side = Literal["user", "item", "context"]

ReadAs = Literal["string", "strings", "number", "timestamp"]
"""How a raw column is read."""


class Vocabulary(Section):
    """Values kept with an id of their own, counted on what the backbone learns from
    (``Experiment.fitted_on``) and nothing else.
    """

    min_count: Count = 1
    max_size: Count = 1_000_000


class FeatureSettings(Section):
    """What the program asks of a feature whatever its kind, so that nothing asks for its class.

    A kind answers otherwise where it differs; what it computes is in ``preprocessing.features``.

    Attributes:
      read_as: how each of its raw columns is read.
      training_only: settings that do not change what the transform gives.
      gives_value_ids: its output is one id for the value of its one column, so lists may share its
        ids, and rows may be counted by them.
      can_debias: it gives one output, of its own name and with one value a row, that its column
        alone decides, so it may be ``backbone.debias.feature``.
    """

    read_as: ClassVar[ReadAs]
    training_only: ClassVar[frozenset[str]] = frozenset({"side", "dimension"})
    gives_value_ids: ClassVar[bool] = False
    can_debias: ClassVar[bool] = False

    def raw_columns(self, name: str) -> tuple[str, ...]:
        """The raw columns that a feature of this name reads."""
        return (name,)

    def output_names(self, name: str) -> tuple[str, ...]:
        """The outputs that a feature of this name gives."""
        return (name,)

    @property
    def shares_ids_of(self) -> str | None:
        """The feature whose ids and table it uses; None where it has its own."""
        return None

    @property
    def oov_ids(self) -> int:
        """How many ids of each of its outputs, from 1, stand for values outside its vocabulary;
        0 without one.
        """
        return 0

    @property
    def hashed_ids(self) -> int:
        """How many ids, from 1, all values are hashed into; 0 where they are not."""
        return 0

    @property
    def shared_ids(self) -> int:
        """Ids below this one stand for several values or none: missing and, beside a vocabulary,
        all values outside it.
        """
        return 1 + self.oov_ids

    @property
    def dropped_ids(self) -> float:
        """Share of known ids that pre-training replaces by an out-of-vocabulary id."""
        return 0.0

    @property
    def pools_by_attention(self) -> bool:
        """Whether a list is pooled with the vector of ``shares_ids_of`` as query, not by its
        mean.
        """
        return False


class _Feature(FeatureSettings):
    side: Side
    column: str | None = Field(None, description="raw column; the feature's own name where absent")

    def raw_columns(self, name: str) -> tuple[str, ...]:
        return (self.column or name,)


class _Embedded(_Feature):
    dimension: Width | None = Field(
        None, description="embedding width; backbone.embedding_dimension where absent"
    )


class _Categorical(_Embedded):
    training_only = _Embedded.training_only | {"id_dropout"}

    vocabulary: Vocabulary | None = None
    hash_buckets: Count | None = Field(
        None, description="hash into this many ids instead of keeping a vocabulary"
    )
    oov_buckets: Count = Field(1, description="ids for values outside the vocabulary")
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
    def oov_ids(self) -> int:
        return 0 if self.hash_buckets else self.oov_buckets

    @property
    def hashed_ids(self) -> int:
        return self.hash_buckets or 0

    @property
    def dropped_ids(self) -> float:
        return self.id_dropout


class CategoricalFeature(_Categorical):
    """One value a row, read as a string. Missing (null or empty) is id 0."""

    read_as = "string"
    gives_value_ids = True
    can_debias = True

    kind: Literal["categorical"]


class ListFeature(_Categorical):
    """A list of values a row, cut or padded to ``max_length``; ``shares`` names a categorical
    feature whose ids and table it uses.
    """

    read_as = "strings"
    training_only = _Categorical.training_only | {"attention"}

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

    @property
    def shares_ids_of(self) -> str | None:
        return self.shares

    @property
    def pools_by_attention(self) -> bool:
        return self.attention


class NumericFeature(_Embedded):
    """One number a row. Missing (null) becomes the mean, 0 after standardising, or bucket 0."""

    read_as = "number"
    can_debias = True

    kind: Literal["numeric"]
    log1p: bool = Field(False, description="sign(x) * log(1 + |x|) before anything else")
    standardise: bool = True
    quantile_buckets: Annotated[int, Field(ge=2, le=1000)] | None = Field(
        None, description="embed the quantile bucket instead of feeding the number"
    )


class TimestampFeature(_Embedded):
    """The row's moment as embedded parts, in ``time_zone``."""

    read_as = "timestamp"

    kind: Literal["timestamp"]
    parts: tuple[Literal["hour", "weekday"], ...] = ("hour", "weekday")
    time_zone: TimeZoneName = "UTC"

    def output_names(self, name: str) -> tuple[str, ...]:
        return tuple(f"{name}_{part}" for part in self.parts)


class CrossFeature(FeatureSettings):
    """The values of several columns of a row as one id, hashed; missing (id 0) where one of them
    is.

    The table's size is the config's choice, not the data's: a row's id is its hash, so ids that no
    row had before need no vocabulary, and ids that hash alike share a row of the table (Cheng et
    al. 2016, Wide & Deep Learning, section 3.1, crosses features this way). ``side`` is the item's
    where a column of it is; columns that no other feature reads are of that side.
    """

    read_as = "string"

    kind: Literal["cross"]
    side: Side
    columns: Annotated[
        tuple[str, ...],
        Field(min_length=2, description="raw columns read as strings, joined in this order"),
    ]
    hash_buckets: Annotated[int, Field(ge=1, lt=2**31 - 1, description="ids are 1..hash_buckets")]
    dimension: Width | None = Field(
        None, description="embedding width; backbone.embedding_dimension where absent"
    )

    @model_validator(mode="after")
    def _different_columns(self) -> "CrossFeature":
        for column in self.columns:
            if self.columns.count(column) > 1:
                raise ValueError(f"'columns' names '{column}' twice; expected different columns")
        return self

    def raw_columns(self, name: str) -> tuple[str, ...]:
        return self.columns

    @property
    def hashed_ids(self) -> int:
        return self.hash_buckets


Feature = Annotated[
    CategoricalFeature | ListFeature | NumericFeature | TimestampFeature | CrossFeature,
    Field(discriminator="kind"),
]
"""The settings of one feature; ``kind`` decides the class. A new kind is one of these, and one line
of ``preprocessing.features.kinds``.
"""

FEATURE_KINDS = frozenset(
    get_args(settings.model_fields["kind"].annotation)[0]
    for settings in get_args(get_args(Feature)[0])
)
"""Every value of ``kind``."""
