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
        self._configuring = threading.Lock()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._configure(list(configs))

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
        version = int(spec.version.value) if spec.HasField("version") else None
        if spec.version_label:
            version = self._labels.get(spec.name, {}).get(spec.version_label)
            if version is None:
                raise unknown_label(spec.version_label)
        model = self._models.get(spec.name)
        if model is None:
            raise not_found(spec.name, version, self._models)
        return model, version

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

        Raises:
          StatusError: FAILED_PRECONDITION, and nothing has changed, for a label whose version is
            not served; UNKNOWN, and everything else has changed, where a new model has no version
            that can be loaded (it is tried again at every poll).
        """
        configs = list(configs)
        with self._configuring:
            known = set(self._models)
            self._configure(configs)
            failed = []
            for config in configs:
                problem = self._models[config.name].refresh()
                if config.name not in known and self._models[config.name].version is None:
                    failed.append(problem)
            self._changed(self.available)
        if failed:
            raise StatusError(
                grpc.StatusCode.UNKNOWN,
                f"Some models did not become available: {{{', '.join(failed)}}}",
            )

    def _configure(self, configs: list[ModelConfig]) -> None:
        for config in configs:
            self._check_labels(config)
        models = {}
        for config in configs:
            model = self._models.get(config.name) or Model(
                config.name, config.base_path, self._load, self._report
            )
            model.base_path, model.policy = config.base_path, config.policy
            models[config.name] = model
        gone = [model for name, model in self._models.items() if name not in models]
        self._models, self._labels = models, {config.name: config.labels for config in configs}
        for model in gone:
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
        """Calls a function every so many seconds, in a thread of that name, until ``close``."""

        def loop() -> None:
            while not self._stopped.wait(seconds):
                call()

        self._threads.append(threading.Thread(target=loop, name=name, daemon=True))
        self._threads[-1].start()

    def close(self) -> None:
        """Stops looking and unloads everything, as ``Model.close``."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        for model in self._models.values():
            model.close()
