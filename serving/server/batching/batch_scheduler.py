"""Runs requests together, as TensorFlow Serving's ``--enable_batching`` does: they are joined along
dimension 0, run once, and taken apart again.

Only requests with the same version, signature and outputs meet in a batch. A request whose inputs
have different first dimensions (a ``rank`` signature) is refused, and so is one with an output that
does not have a row for each of the inputs' rows: neither can be joined.

Kinder than TensorFlow Serving in two things: requests whose inner dimensions differ are run in
separate batches where no padding is asked for, and where a batch fails its requests are run one by
one, so that no request fails for what another one sent.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message

from serving.server.batching.batch_tensors import concatenate_requests, split_results
from serving.server.batching.batching_parameters import Parameters
from serving.server.failures import status_of
from serving.server.servable import Servable
from serving.server.tensors import encode
from serving.wire.errors import StatusError, invalid

_LOOK_SECONDS = 0.05
"""How often it is looked whether a waiting request is still wanted."""
Protos = dict[str, Message]
_Key = tuple[Any, ...]


@dataclass(eq=False)
class _Task:
    """A request in a batch: ``inputs`` with ``rows`` rows, ``check`` that raises where nobody waits
    for it any more, and, when ``done``, its outputs or why there are none.
    """

    inputs: Protos
    rows: int
    check: Callable[[], None]
    done: threading.Event = field(default_factory=threading.Event)
    outputs: Protos | StatusError = field(default_factory=dict)

    def is_wanted(self) -> bool:
        """Whether it is to be run; finishes it where it is not."""
        try:
            self.check()
        except StatusError as error:
            self.finish(error)
            return False
        return True

    def finish(self, outputs: Protos | StatusError) -> None:
        self.outputs = outputs
        self.done.set()


@dataclass
class _Batch:
    """Tasks of one kind; ``due`` is when it is run though it is not full."""

    key: _Key
    servable: Servable
    signature: str
    aliases: list[str]
    due: float
    tasks: list[_Task] = field(default_factory=list)
    rows: int = 0
    full: bool = False


class Batcher:
    """Collects requests of all models in batches and runs these in threads of its own."""

    def __init__(self, parameters: Parameters, most_bytes: int = 1 << 30) -> None:
        """Starts the threads.

        Args:
          parameters: how requests are batched.
          most_bytes: what each of the joined tensors may take.
        """
        self._parameters = parameters
        self._most_bytes = most_bytes
        self._waiting: list[
            _Batch
        ] = []  # oldest first; the last one of a kind takes more requests until it is full
        self._changed = threading.Condition()
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batch-{number}", daemon=True)
            for number in range(parameters.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def predict(
        self,
        servable: Servable,
        signature_name: str,
        inputs: Mapping[str, Message],
        output_filter: Sequence[str],
        most_bytes: int,
        check: Callable[[], None] = lambda: None,
    ) -> Protos:
        """As ``Servable.predict``, in a batch with others. The caller keeps the servable loaded
        meanwhile.

        Args:
          servable: runs it.
          signature_name: see ``Servable.predict``, as for the following.
          inputs: every one with the same first dimension.
          output_filter: see there.
          most_bytes: see there.
          check: raises ``StatusError`` where the answer is of no use any more.

        Raises:
          StatusError: as ``Servable.predict``; INVALID_ARGUMENT for inputs that cannot be joined or
            have too many rows; FAILED_PRECONDITION for outputs that cannot be taken apart;
            UNAVAILABLE where too much is waiting; what ``check`` raises, for a request that is not
            being run yet.
        """
        checked, aliases = servable.checked(signature_name, inputs, output_filter, most_bytes)
        rows = _rows(checked)
        if rows > self._parameters.max_batch_size:
            raise invalid(
                f"Task size {rows} is larger than maximum input batch size"
                f" {self._parameters.max_batch_size}"
            )
        inner = () if self._parameters.pad_variable_length_inputs else _inner_shapes(checked)
        task = _Task(checked, rows, check)
        key = (id(servable), signature_name, tuple(aliases), inner)
        due = time.monotonic() + self._parameters.batch_timeout_micros / 1e6
        self._enqueue(_Batch(key, servable, signature_name, aliases, due), task)
        # What is being run keeps the servable in use, so it is waited for even though nobody wants
        # the answer.
        while not task.done.wait(_LOOK_SECONDS):
            try:
                check()
            except StatusError as error:
                self._withdraw(task, error)
        if isinstance(task.outputs, StatusError):
            raise task.outputs
        return task.outputs

    def close(self) -> None:
        """Ends the threads, once what is waiting has been run."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _enqueue(self, new: _Batch, task: _Task) -> None:
        """Adds a task to the last batch of the new one's kind, or begins the new one with it."""
        with self._changed:
            alike = [batch for batch in self._waiting if batch.key == new.key]
            batch = alike[-1] if alike and not alike[-1].full else None
            if batch is None or batch.rows + task.rows > self._parameters.max_batch_size:
                if len(alike) >= self._parameters.max_enqueued_batches:
                    words = "The batch scheduling queue to which this task was submitted is full"
                    raise StatusError(grpc.StatusCode.UNAVAILABLE, words)
                if batch is not None:
                    batch.full = True
                batch = new
                self._waiting.append(batch)
            batch.tasks.append(task)
            batch.rows += task.rows
            batch.full = batch.rows >= self._parameters.max_batch_size
            self._changed.notify()

    def _withdraw(self, task: _Task, why: StatusError) -> None:
        """Takes a task out of its batch, unless it is being run."""
        with self._changed:
            for batch in self._waiting:
                if task in batch.tasks:
                    batch.tasks.remove(task)
                    batch.rows -= task.rows
                    task.finish(why)

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            try:
                self._run(batch, batch.tasks)
            except Exception as error:  # the thread must live, and nobody may wait for ever
                failure = status_of(error)
                for task in batch.tasks:
                    if not task.done.is_set():
                        task.finish(failure)

    def _next(self) -> _Batch | None:
        """Waits for a batch that is full or due; None in the end."""
        with self._changed:
            while True:
                now = time.monotonic()
                for position, batch in enumerate(self._waiting):
                    if batch.full or batch.due <= now or self._stopped:
                        return self._waiting.pop(position)
                if self._stopped:
                    return None
                self._changed.wait(
                    min(batch.due for batch in self._waiting) - now if self._waiting else None
                )

    def _run(self, batch: _Batch, tasks: list[_Task]) -> None:
        tasks = [task for task in tasks if task.is_wanted()]
        if not tasks:
            return
        try:
            answers = self._answers(batch, tasks)
        except Exception as error:
            if len(tasks) == 1:
                tasks[0].finish(status_of(error))
                return
            for task in tasks:
                self._run(batch, [task])
            return
        for task, answer in zip(tasks, answers, strict=True):
            task.finish(answer)

    def _answers(self, batch: _Batch, tasks: list[_Task]) -> list[Protos]:
        servable, sizes = batch.servable, [task.rows for task in tasks]
        size = self._size(sum(sizes))
        results = servable.run(
            batch.signature,
            batch.aliases,
            concatenate_requests([task.inputs for task in tasks], size, self._most_bytes),
        )
        outputs = servable.signatures[batch.signature].outputs
        parts = split_results(dict(zip(batch.aliases, results, strict=True)), sizes, size)
        return [
            {alias: encode(array, outputs[alias].dtype) for alias, array in part.items()}
            for part in parts
        ]

    def _size(self, rows: int) -> int:
        """The size that a batch of so many rows is filled up to; one without rows cannot be
        filled up.
        """
        return (
            next((size for size in self._parameters.allowed_batch_sizes if size >= rows), rows)
            if rows
            else 0
        )


def _rows(inputs: Protos) -> int:
    """The first dimension of all inputs."""
    if not inputs:
        raise invalid("Batching Run() must have at least one input tensor")
    if any(not proto.tensor_shape.dim for proto in inputs.values()):
        raise invalid("Batching Run() input tensors must have at least one dimension")
    rows = {proto.tensor_shape.dim[0].size for proto in inputs.values()}
    if len(rows) > 1:
        raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
    return int(rows.pop())


def _inner_shapes(inputs: Protos) -> tuple[int, ...]:
    """Equal for inputs of the same signature whose dimensions after the first are equal."""
    return tuple([dim.size for proto in inputs.values() for dim in proto.tensor_shape.dim[1:]])
