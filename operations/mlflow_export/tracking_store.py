"""The store of MLflow: which entries it has, and how new ones get there.

Of the library's client alone, which adds nothing by itself: no environment, no command line, no
source code. A run is looked up by its key, and is there once it is FINISHED; what a killed export
left unfinished is deleted and written anew.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from configs import InputError
from operations.mlflow_export.entry import Entry, value_of, without_credentials
from operations.mlflow_export.released_models import ReleasedModel

KEY, KIND = "recommender.key", "recommender.kind"
EXPECTED = "expected an address such as sqlite:///mlflow.db or http://HOST:5000"
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
"""Where the environment does not say otherwise: MLflow reports nothing to its makers, and gives up
a server that is not there in seconds."""
_POINTS, _PARAMS = 1_000, 100
"""The most that MLflow takes at once."""
_PAGE = 1_000


class TrackingStore:
    """An experiment of a store.

    Args:
      address: of the store, as MLflow takes it.
      experiment: its name; made where there is none.

    Raises:
      InputError: the store cannot be used, or the experiment was deleted there.
      ModuleNotFoundError: MLflow is not installed.
    """

    def __init__(self, address: str, experiment: str) -> None:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        logging.getLogger("alembic").setLevel(logging.WARNING)
        self._address = address
        with self._one_line():
            self._client = MlflowClient(tracking_uri=address, registry_uri=address)
            there = self._client.get_experiment_by_name(experiment)
            if there is not None and there.lifecycle_stage != "active":
                raise InputError(
                    f"--experiment '{experiment}' was deleted in the store; restore it there, or"
                    " give another name"
                )
            self._id = there.experiment_id if there else self._client.create_experiment(experiment)

    def add(self, entries: Sequence[Entry]) -> list[Entry]:
        """Adds what is not there yet; returns it. The first entry is the parent of the others.

        Raises:
          InputError: the store cannot be used; what was added by then is whole.
        """
        with self._one_line():
            known, added = self._known(), []
            for entry in entries:
                if entry.key not in known:
                    parent = known.get(entries[0].key)
                    known[entry.key] = self._write(entry, parent)
                    added.append(entry)
            return added

    def register(self, name: str, models: Iterable[ReleasedModel]) -> list[ReleasedModel]:
        """Adds the versions of a registered model that are not there yet; returns them. Raises
        ``InputError`` where the store has no model registry, or refuses one.
        """
        with self._one_line():
            found = self._client.search_registered_models(f"name = '{name}'")
            if not found:
                self._client.create_registered_model(name)
            known = {
                version.tags.get(KEY)
                for version in self._pages(self._client.search_model_versions, f"name = '{name}'")
            }
            added = [model for model in models if model.key not in known]
            for model in added:
                self._client.create_model_version(
                    name,
                    str(model.path),
                    tags={**model.tags, KEY: model.key},
                    description=model.note,
                )
            return added

    def _known(self) -> dict[str, str]:
        """Key -> id of every finished run, also of those that somebody deleted: they are not to
        come back.
        """
        from mlflow.entities import ViewType

        found: dict[str, str] = {}
        runs = self._pages(
            lambda text, **page: self._client.search_runs([self._id], text, ViewType.ALL, **page),
            "",
        )
        for run in runs:
            key = run.data.tags.get(KEY)
            if key is None:
                continue
            if run.info.status == "FINISHED":
                found[key] = run.info.run_id
            elif run.info.lifecycle_stage == "active":
                self._client.delete_run(run.info.run_id)
        return found

    @staticmethod
    def _pages(search: Any, text: str) -> Iterator[Any]:
        page = search(text, max_results=_PAGE)
        yield from page
        while page.token:
            page = search(text, max_results=_PAGE, page_token=page.token)
            yield from page

    def _write(self, entry: Entry, parent: str | None) -> str:
        from mlflow.entities import Metric, Param

        start, end = (int(moment.timestamp() * 1_000) for moment in (entry.start, entry.end))
        tags = {**entry.tags, KEY: entry.key, KIND: entry.kind}
        if parent:
            tags["mlflow.parentRunId"] = parent
        if entry.note:
            tags["mlflow.note.content"] = value_of(entry.note)
        run: str = self._client.create_run(
            self._id, start_time=start, tags=tags, run_name=value_of(entry.name)
        ).info.run_id
        params = [Param(name, text) for name, text in entry.params.items()]
        for first in range(0, len(params), _PARAMS):
            self._client.log_batch(run, params=params[first : first + _PARAMS])
        metrics = [Metric(name, value, end, step) for name, value, step in entry.points]
        for first in range(0, len(metrics), _POINTS):
            self._client.log_batch(run, metrics=metrics[first : first + _POINTS])
        self._client.set_terminated(run, "FINISHED", end)
        return run

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        """Raises ``InputError`` for whatever the store raises, which names the store without its
        user and password.
        """
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # MLflow's, a database's, a connection's
            said = without_credentials(" ".join(str(error).split()))
            raise InputError(
                f"--tracking-uri {without_credentials(self._address)}: the store cannot be used:"
                f" {said[:300]}; {EXPECTED}"
            ) from None


def check_address(address: str) -> None:
    """Raises ``InputError`` where an address names no store, or a database in a folder that is not
    there.
    """
    if "://" not in address:
        raise InputError(f"--tracking-uri '{without_credentials(address)}': {EXPECTED}")
    scheme, _, path = address.partition(":///")
    if scheme == "sqlite" and not Path(path.partition("?")[0]).absolute().parent.is_dir():
        raise InputError(f"--tracking-uri {address}: no such folder: {Path(path).parent}")
