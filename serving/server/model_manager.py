"""Holds the models of a server. Which there are may change while it serves, by a new config or by
new versions on disk.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import grpc

from serving.server.model_config import ModelConfig, unavailable_label, unknown_label
from serving.server.model_versions import Closable, Model, State, not_found
from serving.wire.errors import StatusError, invalid

S = TypeVar("S", bound=Closable)


class Models(Generic[S]):
    """Models by name, their version labels, and the thread that looks for new versions."""

    def __init__(
        self,
        configs: Iterable[ModelConfig],
        load: Callable[[int, Path], S],
        report: Callable[[str], None],
        *,
        labels_before_versions: bool = False,
        changed: Callable[[bool], None] = lambda available: None,
    ) -> None:
        """Nothing is loaded yet; call ``refresh``.

        Args:
          configs: the models.
          load: loads a version from its directory.
          report: takes one line about what happened.
          labels_before_versions: new labels may name versions that are not (yet) served.
          changed: is told whether every model has a version, after each look at the disk.

        Raises:
          StatusError: FAILED_PRECONDITION for a label that its version is too early for.
        """
        self._load = load
        self._report = report
        self._labels_before_versions = labels_before_versions
        self._changed = changed
        self._models: dict[str, Model[S]] = {}
        self._labels: dict[str, Mapping[str, int]] = {}
        self._failed: dict[str, Model[S]] = {}
        self._configuring = threading.Lock()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        configs = list(configs)
        for config in configs:
            self._check_labels(config)
        self._commit(configs, {config.name: self._new(config) for config in configs})

    @property
    def available(self) -> bool:
        """Whether every configured model has a version that is served."""
        return all(model.version is not None for model in self._models.values())

    def __iter__(self) -> Iterator[Model[S]]:
        return iter(self._models.values())  # the dictionary is replaced, never changed

    def find(self, spec: Any) -> tuple[Model[S], int | None]:
        """The model that a ``ModelSpec`` names, and the version; None for the newest.

        Raises:
          StatusError: INVALID_ARGUMENT without a name or for a label that the model does not have,
            NOT_FOUND for a model that is not served.
        """
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        version = self.version_of(spec)
        model = self._models.get(spec.name)
        if model is None:
            raise not_found(spec.name, version, self._models)
        return model, version

    def version_of(self, spec: Any) -> int | None:
        """The version that a ``ModelSpec`` names by its number or its label; None for the newest.
        Raises ``StatusError``, INVALID_ARGUMENT, for a label that the model does not have, the
        empty one included.
        """
        choice = spec.WhichOneof("version_choice")
        if choice is None:
            return None
        if choice == "version":
            return int(spec.version.value)
        version = self._labels.get(spec.name, {}).get(spec.version_label)
        if version is None:
            raise unknown_label(spec.version_label)
        return version

    def get(self, name: str) -> Model[S] | None:
        """The model of this name."""
        return self._models.get(name)

    def refresh(self) -> dict[str, str]:
        """Looks at every model's base path once. Returns, by model, what keeps wanted versions
        from being served, in one line.
        """
        problems = {model.name: problem for model in self if (problem := model.refresh())}
        self._changed(self.available)
        return problems

    def reconfigure(self, configs: Iterable[ModelConfig]) -> None:
        """Serves these models and no others; returns when the new ones are available.

        A model that is new, or has another base path, is loaded beside the served ones first; only
        when each of them has a version does anything change.

        Raises:
          StatusError: FAILED_PRECONDITION for a label whose version is not served; UNKNOWN where
            such a model has no version that can be loaded. Nothing has changed then.
        """
        configs = list(configs)
        with self._configuring:
            for config in configs:
                self._check_labels(config)
            models, problems = {}, []
            for config in configs:
                model = self._models.get(config.name)
                if model is None or model.base_path != config.base_path:
                    model = self._tried(config)
                    if (problem := model.refresh()) and model.version is None:
                        problems.append(problem)
                models[config.name] = model
            fresh = {name: model for name, model in models.items() if model not in list(self)}
            if problems:
                # What failed is kept, so that the same files are not loaded at every attempt.
                self._failed = {
                    name: model for name, model in fresh.items() if model.version is None
                }
                self._close([model for model in fresh.values() if model.version is not None])
                raise StatusError(
                    grpc.StatusCode.UNKNOWN,
                    f"Some models did not become available: {{{', '.join(problems)}}}; the former"
                    " config stays",
                )
            self._failed = {}
            self._commit(configs, models)
            for model in models.values():
                model.refresh()
            self._changed(self.available)

    def _new(self, config: ModelConfig) -> Model[S]:
        return Model(config.name, config.base_path, self._load, self._report, config.policy)

    def _tried(self, config: ModelConfig) -> Model[S]:
        """A model to try: the one that failed before, where it is the same."""
        model = self._failed.get(config.name)
        if model is None or model.base_path != config.base_path:
            return self._new(config)
        model.policy = config.policy
        return model

    def _commit(self, configs: list[ModelConfig], models: dict[str, Model[S]]) -> None:
        for config in configs:
            models[config.name].policy = config.policy
        gone = [model for model in self if model is not models.get(model.name)]
        self._models, self._labels = models, {config.name: config.labels for config in configs}
        self._close(gone)

    def _close(self, models: list[Model[S]]) -> None:
        """Unloads models after their last requests, however long these take."""
        for model in models:
            threading.Thread(
                target=model.close, args=(None,), name=f"close-{model.name}", daemon=True
            ).start()

    def _check_labels(self, config: ModelConfig) -> None:
        model, labels = self._models.get(config.name), self._labels.get(config.name, {})
        statuses = model.statuses() if model else {}
        for label, version in config.labels.items():
            served = version in statuses and statuses[version].state is State.AVAILABLE
            is_new = labels.get(label, version) == version
            if not served and not (self._labels_before_versions and is_new):
                raise unavailable_label(config.name, version)

    def poll(self, seconds: float) -> None:
        """Calls ``refresh`` every so many seconds, in a thread, until ``close``."""
        said: dict[str, str] = {}

        def look() -> None:
            nonlocal said
            problems = self.refresh()
            for name, problem in problems.items():
                model = self._models.get(name)
                if model and problem != said.get(name):  # what stays wrong is said once
                    served = f"version {model.version} goes on being served"
                    self._report(f"{problem}; {served if model.versions else 'nothing is served'}")
            said = problems

        self.every(seconds, look, "poll-versions")

    def every(self, seconds: float, call: Callable[[], None], name: str) -> None:
        """Calls a function every so many seconds, in a thread of that name, until ``close``; what
        it raises is reported, once while it stays the same, and does not end the thread.
        """

        def loop() -> None:
            said = ""
            while not self._stopped.wait(seconds):
                problem = ""
                try:
                    call()
                except Exception as error:
                    problem = f"{name}: {type(error).__name__}: {error}; it goes on"
                if problem and problem != said:
                    self._report(problem)
                said = problem

        self._threads.append(threading.Thread(target=loop, name=name, daemon=True))
        self._threads[-1].start()

    def close(self) -> None:
        """Stops looking and unloads everything, as ``Model.close``."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        for model in self._models.values():
            model.close()
