"""What must hold between features, topics and keys of an experiment; every check raises
``ValueError`` with one line that says where.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from keyword import iskeyword
from math import inf

from configs.domain_names import ALL, folder_name, sorted_conditions
from configs.domains import Domain, Topic
from configs.errors import did_you_mean
from configs.features.settings import FeatureSettings, ReadAs
from configs.prediction.score import check_score
from configs.training import BUILT_IN_BODIES

_NAMED_BY = {
    "string": "categorical",
    "strings": "list",
    "number": "numeric",
    "numbers": "a list of numbers",
}
"""Ways to read a column that errors call by the kind of feature that reads so."""

_TOPICS_READ = {
    "star": (1, 1, "exactly one topic"),
    "hamur": (1, 1, "exactly one topic"),
    "pepnet": (1, inf, "at least one topic"),
}

_OTHER_INPUTS = ("domain", "examples", "self")
"""What else is an input of a signature, or an argument of one."""

Reader = tuple[str, str, str]
"""Where in the config a column is read, the column, and how."""


def can_be_served(column: str) -> bool:
    """Whether a column can name an input of the served model."""
    reserved = column.lower() in _OTHER_INPUTS or iskeyword(column)
    return not reserved and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", column) is not None


def check_topics(
    topics: Mapping[str, Topic], kept: Sequence[str], timestamp: str, labels: Sequence[str]
) -> None:
    """Hours are those of ``data.timestamp``, and no label is read, nor kept for topics to come."""
    for column in kept:
        if column in labels:
            raise ValueError(
                f"data.topic_columns: '{column}' is a label; a domain must be known before the"
                " click"
            )
    for name, topic in topics.items():
        if topic.hours and topic.column != timestamp:
            raise ValueError(
                f"topics.{name}.column: hour ranges read data.timestamp '{timestamp}', received"
                f" '{topic.column}'"
            )
        if topic.column in labels:
            raise ValueError(
                f"topics.{name}.column: '{topic.column}' is a label; a domain must be known before"
                " the click"
            )


def check_memory(keys: Mapping[str, Sequence[str]], labels: Sequence[str]) -> None:
    """No label is part of a key."""
    for name, columns in keys.items():
        for column in columns:
            if column in labels:
                raise ValueError(
                    f"memory.keys.{name}: '{column}' is a label; a key must be known before the"
                    " click"
                )


def check_cross_topics(
    topics: Mapping[str, Topic], cross_topics: Sequence[tuple[str, str]]
) -> None:
    """Every pair is of two different topics, and stands once."""
    for first, second in cross_topics:
        for name in (first, second):
            if name not in topics:
                raise ValueError(
                    f"cross_topics: '{name}' is no topic; the config has:"
                    f" {', '.join(topics) or 'none'}"
                )
        if first == second:
            raise ValueError(f"cross_topics: '{first}' is crossed with itself")
    pairs = [frozenset(pair) for pair in cross_topics]
    for pair in cross_topics:
        if pairs.count(frozenset(pair)) > 1:
            raise ValueError(f"cross_topics: '{pair[0]}' and '{pair[1]}' are crossed twice")


def check_domains(domains: Iterable[Domain]) -> None:
    """Every domain's name can name a folder."""
    for domain in domains:
        try:
            folder_name(domain.name)
        except ValueError as error:
            raise ValueError(f"domain '{domain.name}': {error}") from None


def check_scores(
    scores: Mapping[str, str], domains: Iterable[Domain], names: Collection[str]
) -> None:
    """Every key is a domain of topics, as it is called, and its value an expression of tasks."""
    known = [domain.name for domain in domains]
    for name, text in scores.items():
        if name == ALL:
            raise ValueError("scores.all: 'score' ranks all rows; expected domains of topics")
        if name not in known:
            near = did_you_mean(name, known[1:], sorted_conditions)
            raise ValueError(f"scores: '{name}' is no domain of this config{near}")
        check_score(text, names, f"scores.{name}")


def check_body_topics(body: str, read: Sequence[str], topics: Mapping[str, Topic]) -> None:
    """The backbone's body reads as many topics as it can, each of the config and once."""
    known = (0, 0, "no topic") if body in BUILT_IN_BODIES else (0, inf, "any number of topics")
    fewest, most, expected = _TOPICS_READ.get(body, known)
    if not fewest <= len(read) <= most:
        raise ValueError(
            f"backbone.topics: body '{body}' reads {expected}, received {', '.join(read) or 'none'}"
        )
    for name in read:
        if name not in topics:
            raise ValueError(
                f"backbone.topics: '{name}' is no topic; the config has:"
                f" {', '.join(topics) or 'none'}"
            )
        if read.count(name) > 1:
            raise ValueError(f"backbone.topics: '{name}' is named twice")


def check_columns(
    features: Mapping[str, FeatureSettings],
    topics: Mapping[str, Topic],
    remembered: Mapping[str, Sequence[str]],
    kept: Iterable[str],
    others: Iterable[Reader],
    keys: Iterable[str],
) -> None:
    """Every column is read in one way, those of a request can name an input of the served model,
    and no key is a list.

    Args:
      features: of the experiment.
      topics: of the experiment.
      remembered: keys of its memory, and the columns of each, which are text.
      kept: columns for topics to come; text where nothing else reads them.
      others: what else reads a column; none of it is served.
      keys: columns that hold one value a row, whoever reads them.
    """
    read_as: dict[str, str] = {}
    inputs: dict[str, str] = {}

    def read(where: str, column: str, way: str) -> None:
        if read_as.setdefault(column, way) != way:
            here, elsewhere = (_NAMED_BY.get(name, name) for name in (way, read_as[column]))
            raise ValueError(
                f"{where}: column '{column}' is read as {here} here and as {elsewhere} elsewhere"
            )

    def read_served(where: str, column: str, way: str) -> None:
        read(where, column, way)
        if not can_be_served(column):
            raise ValueError(
                f"{where}: column '{column}' cannot name an input of the served model; expected"
                f" letters, digits and '_' that begin with a letter, and neither"
                f" {', '.join(_OTHER_INPUTS)} nor a word of Python such as 'class'; rename the"
                " column in the logs"
            )
        if (other := inputs.setdefault(column.lower(), column)) != column:
            raise ValueError(
                f"{where}: columns '{other}' and '{column}' cannot both name inputs of the served"
                " model, which tells no capital letters from small ones; rename one in the logs"
            )

    for where, column, way in _served(features, topics):
        read_served(where, column, way)
    for name, columns in remembered.items():
        for column in columns:
            read_served(f"memory.keys.{name}", column, "string")
    for column in kept:
        if read_as.get(column) == "numbers":
            raise ValueError(
                f"data.topic_columns: '{column}' is a list of numbers; no topic reads it"
            )
        read_served("data.topic_columns", column, read_as.get(column, "string"))
    for reader in others:
        read(*reader)
    for key in keys:
        if read_as.get(key) in ("strings", "numbers"):
            raise ValueError(f"data: column '{key}' is a list; a key is one value")


def check_segments(
    segments: Sequence[str],
    features: Mapping[str, FeatureSettings],
    topics: Mapping[str, Topic],
    remembered: Mapping[str, Sequence[str]],
    kept: Iterable[str],
) -> None:
    """Every column by which results are cut is one that a dataset may keep, holds one value a row,
    and stands once. The other arguments are ``check_columns``'s.
    """
    read_as = {column: way for _, column, way in _served(features, topics)}
    for column in (*(name for names in remembered.values() for name in names), *kept):
        read_as.setdefault(column, "string")
    for column in segments:
        if column not in read_as:
            raise ValueError(
                f"evaluation.segments: no feature, topic or data.topic_columns reads column"
                f" '{column}'{did_you_mean(column, read_as)}"
            )
        if read_as[column] not in ("string", "number"):
            raise ValueError(
                f"evaluation.segments: column '{column}' is read as"
                f" {_NAMED_BY.get(read_as[column], read_as[column])}; expected one of text or of"
                " numbers"
            )
        if segments.count(column) > 1:
            raise ValueError(f"evaluation.segments: '{column}' is named twice")


def _served(
    features: Mapping[str, FeatureSettings], topics: Mapping[str, Topic]
) -> Iterator[tuple[str, str, ReadAs]]:
    for name, settings in features.items():
        for column, way in settings.reads(name, features).items():
            yield f"features.{name}", column, way
    for name, topic in topics.items():
        yield f"topics.{name}", topic.column, topic.read_as
