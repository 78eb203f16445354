"""Defines domains: what topics, and pairs of topics, cut the traffic into."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from configs.domain_names import ALL as ALL
from configs.domain_names import AUTO as AUTO
from configs.domain_names import BACKBONE as BACKBONE
from configs.domain_names import conditions_of as conditions_of
from configs.domain_names import domain_name, sorted_conditions
from configs.domain_names import is_single_topic as is_single_topic
from configs.errors import InputError, did_you_mean
from configs.topics import Topic as Topic


@dataclass(frozen=True)
class Domain:
    """A domain: no condition is ``all``, one is single-topic, two are cross-topic.

    Attributes:
      name: ``all``, ``region=25`` or ``region=25,period=noon`` (``configs.domain_names``).
      conditions: pairs of topic name and value index (from 1, as in datasets).
    """

    name: str
    conditions: tuple[tuple[str, int], ...] = ()

    @classmethod
    def parse(cls, name: str, topics: Mapping[str, Topic]) -> "Domain":
        """The domain of a name such as ``region=25,period=noon``, whether or not an experiment
        crosses its topics.

        Raises:
          InputError: a topic or value is unknown; names the nearest one.
        """
        conditions = []
        for topic, value in conditions_of(name):
            part = domain_name([(topic, value)]) if value else topic
            if not _is_value(topic, value, topics):
                known = [
                    domain_name([(other, v)]) for other, spec in topics.items() for v in spec.names
                ]
                raise InputError(
                    f"domain '{name}': '{part}' is no value of a topic{did_you_mean(part, known)};"
                    f" topics: {', '.join(topics) or 'none'}"
                )
            conditions.append((topic, topics[topic].names.index(value) + 1))
        return cls(domain_name(conditions_of(name)), tuple(conditions))

    @property
    def parents(self) -> list[str]:
        """Names of the domains that it can start from, the preferred first: a cross-topic one from
        its single topics in order, then ``all``.
        """
        singles = [domain_name([condition]) for condition in conditions_of(self.name)]
        return [*(singles if len(singles) > 1 else ()), ALL]


def is_domain(name: str, topics: Mapping[str, Topic]) -> bool:
    """Whether a name is one that ``Domain.parse`` reads."""
    return all(_is_value(topic, value, topics) for topic, value in conditions_of(name))


def enumerate_domains(
    topics: Mapping[str, Topic], cross_topics: Iterable[tuple[str, str]]
) -> tuple[Domain, ...]:
    """All domains of an experiment: ``all``, then single-topic in the config's order, then
    cross-topic.
    """
    single = {
        topic: [
            (domain_name([(topic, value)]), (topic, index))
            for index, value in enumerate(spec.names, 1)
        ]
        for topic, spec in topics.items()
    }
    domains = [Domain(ALL)]
    domains += [
        Domain(name, (condition,)) for values in single.values() for name, condition in values
    ]
    for first, second in cross_topics:
        domains += [Domain(f"{a},{b}", (x, y)) for a, x in single[first] for b, y in single[second]]
    return tuple(domains)


def named_domains(domains: Iterable[Domain], names: Iterable[str], where: str) -> list[Domain]:
    """The domains of these names, each once; all of them where none is named. A name's topics may
    stand in any order.

    Args:
      domains: those that can be named.
      names: what was asked for.
      where: the option that asked; the message begins with it.

    Raises:
      InputError: a name is none of theirs; names the nearest one.
    """
    known = {sorted_conditions(domain.name): domain for domain in domains}
    asked = {sorted_conditions(name): name for name in names}
    for spelling, name in asked.items():
        if spelling not in known:
            there = [domain.name for domain in known.values()]
            near = did_you_mean(name, there, sorted_conditions)
            raise InputError(f"{where}: '{name}' is no domain of this config{near}")
    return [known[spelling] for spelling in asked] or list(known.values())


def _is_value(topic: str, value: str, topics: Mapping[str, Topic]) -> bool:
    return topic in topics and value in topics[topic].names
