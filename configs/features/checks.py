"""What must hold between the features of an experiment; every check raises ``ValueError`` with one
line that says where.
"""

from collections.abc import Mapping, Sequence

from configs.features.settings import FeatureSettings


def check_features(
    features: Mapping[str, FeatureSettings], labels: Sequence[str], debias: str | None
) -> None:
    """No label is read, ids are shared with a categorical feature, outputs have one name each, and
    the debias feature can be one.
    """
    for name, settings in features.items():
        for column in settings.reads(name, features):
            if column in labels:
                raise ValueError(
                    f"features.{name}: column '{column}' is a label; a label cannot be a feature"
                )
        owner = settings.shares_ids_of
        hashed = owner is not None and owner in features and features[owner].hashed_ids
        if hashed and settings.dropped_ids:
            raise ValueError(
                f"features.{name}.id_dropout: '{owner}' hashes its values, and hashed ids have no"
                " out-of-vocabulary ids to drop to"
            )
        if owner is not None and not (owner in features and features[owner].gives_value_ids):
            raise ValueError(
                f"features.{name}.shares: '{owner}' is no categorical feature of this config"
            )
        for output in settings.output_names(name):
            if output != name and output in features:
                raise ValueError(
                    f"features.{output}: 'features.{name}' gives an output of that name"
                )
        if settings.belongs_to is not None:
            _check_along(name, settings, settings.belongs_to, features)
    if debias is not None and not (debias in features and features[debias].can_debias):
        raise ValueError(
            f"backbone.debias.feature: '{debias}' is no categorical or numeric feature of this"
            " config"
        )


def _check_along(
    name: str, settings: FeatureSettings, along: str, features: Mapping[str, FeatureSettings]
) -> None:
    """What is read along a list is as long as that list, and of its side."""
    owner = features.get(along)
    if owner is None or owner.list_length is None or owner.belongs_to is not None:
        raise ValueError(
            f"features.{name}.along: '{along}' is no list of this config that stands by itself"
        )
    if settings.list_length != owner.list_length:
        raise ValueError(
            f"features.{name}.max_length: {settings.list_length}, and '{along}' has"
            f" {owner.list_length}; what is read along a list is as long"
        )
    if settings.side != owner.side:
        raise ValueError(
            f"features.{name}.side: '{settings.side}', and '{along}' is of the side"
            f" '{owner.side}'; what is read along a list is of its side"
        )


def check_vectors(features: Mapping[str, FeatureSettings]) -> None:
    """A column of vectors has one size, and is read as nothing else; weights have a column."""
    readers: dict[str, str] = {}
    for name, settings in features.items():
        reads = settings.reads(name, features)
        if settings.weighed_by and len(reads) == 1:
            raise ValueError(
                f"features.{name}.weights: column '{next(iter(reads))}' holds the values; expected"
                " another one, of numbers"
            )
        for column, way in reads.items():
            if way != "numbers":
                continue
            other = readers.setdefault(column, name)
            if features[other].vector_size != settings.vector_size:
                raise ValueError(
                    f"features.{name}: column '{column}' holds vectors of one size; 'features."
                    f"{other}' reads another"
                )


def check_transformers(features: Mapping[str, FeatureSettings], width: int) -> None:
    """The width of a list's entries is a multiple of its transformer's heads.

    Args:
      features: by name.
      width: of vectors whose feature says none.
    """
    for name, settings in features.items():
        if settings.self_attention is None:
            continue
        owner, heads = settings.shares_ids_of or name, settings.self_attention[1]
        found = features[owner].width or width
        if found % heads:
            raise ValueError(
                f"features.{name}.transformer.heads: {heads}, and the vectors of '{owner}' are"
                f" {found} wide; expected a number that divides it"
            )


def check_timestamp_features(features: Mapping[str, FeatureSettings], timestamp: str) -> None:
    """What reads a moment reads the row's own."""
    for name, settings in features.items():
        for column, way in settings.reads(name, features).items():
            if way == "timestamp" and column != timestamp:
                raise ValueError(
                    f"features.{name}: timestamp features read data.timestamp '{timestamp}',"
                    f" received '{column}'"
                )
