"""A version of a model that this process has loaded, asked in rows."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from configs.calls.argument_types import checks_arguments
from configs.errors import InputError
from configs.prediction.score import SCORE
from preprocessing.filesystem import is_local
from serving.client.asked_model import AskedModel
from serving.client.ranker import Ranker
from serving.server.failures import status_of
from serving.server.servable import Servable
from serving.server.servable_loader import load
from serving.wire.messages import SignatureDefMap
from serving.wire.version_files import SAVED_MODEL, version_directories


class LocalModel(AskedModel):
    """Loads a version as the embedded server does, its files and golden scores checked, and gives
    the server's answers. May be used from several threads.
    """

    @checks_arguments
    def __init__(
        self,
        models: str | PathLike[str],
        *,
        version: int | str | None = None,
        batch_size: int = 256,
        strict_domain: bool = False,
    ) -> None:
        """Loads it.

        Args:
          models: base path of the model on this machine, whose versions are folders in it.
          version: its number, which may be a text; None for the newest.
          batch_size: most rows in one run of the graph by ``predict``.
          strict_domain: refuse an answer that another domain than the one asked for has given;
            otherwise a warning is logged, once for each pair of domains.

        Raises:
          InputError: there is no such version, or it is damaged.
        """
        super().__init__(str(models), batch_size=batch_size, strict_domain=strict_domain)
        if not is_local(str(models)):
            raise InputError(
                f"{models}: is at a store; a model in this process is read from a folder of this"
                " machine: copy it"
            )
        number, path = _version(Path(models), version)
        try:
            self._held: Servable | None = load(number, path)
        except Exception as error:  # the loader's, TensorFlow's or the disk's
            raise InputError(f"{path}: cannot be loaded: {status_of(error).message}") from None

    def close(self) -> None:
        """Frees the model; no other thread may be asking it. Closing it again does nothing."""
        if self._held:
            self._held.close()
        self._held = None

    @property
    def _servable(self) -> Servable:
        if self._held is None:
            raise InputError(f"model {self._name} is closed; load it again")
        return self._held

    def signatures(self) -> dict[str, Message]:
        """See ``AskedModel``."""
        found = SignatureDefMap()
        for name, signature in self._servable.signatures.items():
            found.signature_def[name].ParseFromString(signature.SerializeToString())
        return dict(found.signature_def)

    def _run(self, signature: str, inputs: dict[str, Message]) -> tuple[Mapping[str, Message], int]:
        servable = self._servable
        try:
            return servable.predict(signature, inputs), servable.version
        except Exception as error:  # the graph's own, with the code that a server would give
            raise status_of(error) from None


class LocalRanker(Ranker):
    """Scores and ranks rows by an exported model in this process: any domain, any version, without
    a server.
    """

    @checks_arguments
    def __init__(
        self,
        models: str | PathLike[str],
        *,
        version: int | str | None = None,
        by: str = SCORE,
        signature: str | None = None,
        batch_size: int = 256,
        strict_domain: bool = False,
    ) -> None:
        """Loads the version.

        Args:
          models: base path of the model on this machine.
          version: its number, which may be a text; None for the newest.
          by: the output to rank by, largest first; what the model's config ranks by where it is not
            given.
          signature: ``rank`` or ``serving_default``; None for ``rank`` where the model has it.
          batch_size: most rows in one run of the graph by ``score``.
          strict_domain: refuse answers of another domain than the one asked for.

        Raises:
          InputError: there is no such version, it is damaged, or another signature.
        """
        super().__init__(
            str(models),
            by=by,
            signature=signature,
            version=version,
            batch_size=batch_size,
            strict_domain=strict_domain,
        )

    def _open(self, target: str, model_name: str, **settings: Any) -> AskedModel:
        return LocalModel(target, **settings)


def _version(models: Path, version: int | str | None) -> tuple[int, Path]:
    """Number and folder of a version, the newest where None. Raises ``InputError``."""
    try:
        found = version_directories(models)
    except OSError as error:
        raise InputError(f"{models}: {error.strerror or error}; expected exported models") from None
    if models.name.isdecimal() and (models / SAVED_MODEL).exists():
        raise InputError(
            f"{models}: is one version; expected the folder that it is in, {models.parent}, and"
            f" version={int(models.name)}"
        )
    if not found:
        raise InputError(f"{models}: holds no version; run python -m serving.export")
    number = max(found) if version is None else version
    if isinstance(number, str) and number.isascii() and number.isdecimal() and len(number) < 20:
        number = int(number)
    if not isinstance(number, int) or number not in found:
        there = ", ".join(map(str, sorted(found)))
        raise InputError(f"{models}: no version {number}; there are: {there}")
    return number, found[number]
