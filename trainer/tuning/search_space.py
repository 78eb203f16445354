"""What a config's ``tune`` section lets a trial change, and the experiment that follows."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from configs import Experiment, InputError
from configs.errors import ConfigError
from configs.load import FindAsOf, parse_experiment, read_config_text
from configs.tuning.ranges import Range

_DIGITS = 4
"""Significant ones of a number that is drawn: more would say nothing, and are hard to copy."""

Settings = dict[str, Any]
"""Dotted key of the config -> its value."""


def flags_of(settings: Mapping[str, Any]) -> list[str]:
    """Settings as ``--set`` has them: ``key.path=value``."""
    return [f"{key}={json.dumps(value)}" for key, value in settings.items()]


@dataclass(frozen=True)
class SearchSpace:
    """The settings that are tried.

    Attributes:
      text: of the config, as it was when the command began.
      source: names it in errors.
      overrides: of ``--set``, for all trials.
    """

    text: str
    source: str
    overrides: tuple[str, ...] = ()

    @classmethod
    def of_file(
        cls, path: str, overrides: Iterable[str] = (), find_as_of: FindAsOf | None = None
    ) -> "SearchSpace":
        """Of a config file. Arguments are those of ``configs.load.load_experiment``. Raises
        ``ConfigError`` where it, or its ``tune`` section, is none.
        """
        text, given = read_config_text(path), tuple(overrides)
        as_of = parse_experiment(text, given, path, find_as_of).as_of
        space = cls(text, path, (*given, *([f"as_of={as_of.isoformat()}"] if as_of else [])))
        if not space.ranges:
            raise ConfigError(
                f"{path}: tune: missing; expected the settings to try, such as tune:"
                " {pretrain.learning_rate: {low: 0.0003, high: 0.003, log: true}}"
            )
        return space

    @cached_property
    def base(self) -> Experiment:
        """The config as it is. Raises ``ConfigError``."""
        return parse_experiment(self.text, self.overrides, self.source)

    @cached_property
    def ranges(self) -> dict[str, Range]:
        """What is tried, by key, in the order of the keys."""
        return dict(sorted(self.base.tune.items()))

    @cached_property
    def own(self) -> Settings:
        """The config's own value of every key; None where it has none."""
        return {key: _value_at(self.base.model_dump(mode="json"), key) for key in self.ranges}

    def experiment(self, settings: Mapping[str, Any]) -> Experiment:
        """The experiment of a trial, without its ``tune`` section. Raises ``ConfigError`` where the
        settings do not go together.
        """
        found = parse_experiment(self.text, [*self.overrides, *flags_of(settings)], self.source)
        return found.model_copy(update={"tune": {}})

    def is_whole(self, key: str) -> bool:
        """Whether a range is of whole numbers: where the config's own value is one, or where it has
        none and both bounds are whole.
        """
        own, ends = self.own[key], self.ranges[key].ends
        return isinstance(own, int) or (
            own is None and all(float(end).is_integer() for end in ends)
        )

    def rounded(self, key: str, value: Any) -> Any:
        """A value as it is tried: a whole number as it is, any other with four significant digits,
        inside its range.
        """
        limits = self.ranges[key]
        if limits.low is None or limits.high is None:
            return value
        if self.is_whole(key) and float(value).is_integer():
            return int(value)
        return min(max(float(f"{value:.{_DIGITS}g}"), limits.low), limits.high)

    def check(self, *, has_logs: bool) -> int:
        """Looks at both bounds, or every choice, of every range.

        Args:
          has_logs: whether datasets of other settings can be made.

        Returns:
          The most epochs that a trial may have.

        Raises:
          InputError: one of them gives no config, another dataset where there are no logs, or other
            rows that teach or judge than the config as it is.
        """
        if self.base.pretrain.teacher:
            raise InputError(
                f"{self.source}: pretrain.teacher: trials have no teacher; leave the section out"
            )
        epochs = [self.base.pretrain.epochs]
        for key, limits in self.ranges.items():
            for end in limits.ends:
                value = self.rounded(key, end)
                what = f"tune.{key}: {json.dumps(value)}"
                try:
                    found = self.experiment({key: value})
                except ConfigError as error:
                    raise InputError(f"{what} gives no config: {error}") from None
                if _judged_by(found) != _judged_by(self.base):
                    raise InputError(
                        f"{what} changes by which rows, labels or figure trials are judged, so that"
                        " they could not be compared; leave the key out"
                    )
                if found.data_digest != self.base.data_digest and not has_logs:
                    raise InputError(
                        f"{what} needs a dataset of its own; give the logs (--input), or leave the"
                        " key out"
                    )
                epochs.append(found.pretrain.epochs)
        return max(epochs)


def _value_at(content: Any, key: str) -> Any:
    for name in key.split("."):
        content = content.get(name) if isinstance(content, dict) else None
    return content


def _judged_by(experiment: Experiment) -> list[Any]:
    """What has to be the same for figures of validation to be compared."""
    pretrain, tasks = experiment.pretrain, experiment.tasks
    same: list[Any] = [pretrain.split, pretrain.validation, pretrain.monitor, pretrain.teacher]
    same += [tasks.spaces, tasks.matured_after]
    return [*same, tasks.model_dump(mode="json")] if pretrain.monitor == "loss" else same
