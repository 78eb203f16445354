"""Runs the embedded model server: TensorFlow Serving's gRPC API, flags and version policies, in
Python.

``python -m serving.server --model-name M --model-base-path MODELS --port 8500`` serves the newest
version under MODELS, the way ``tensorflow_model_server`` does with the same flags; clients cannot
tell the two apart but by their speed. It serves any SavedModel.
"""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from queue import SimpleQueue
from typing import Any

from configs.cli import run
from configs.errors import InputError
from configs.tensorflow_import import tf
from serving.server.batching.batch_scheduler import Batcher
from serving.server.batching.batching_parameters import Parameters, read_parameters
from serving.server.flags import arguments_of
from serving.server.grpc_endpoint import Endpoint, start, try_address
from serving.server.health import Health
from serving.server.memory import keep_out_of_collections
from serving.server.model_config import ModelConfig, model_configs
from serving.server.model_manager import Models
from serving.server.prediction_service import Service
from serving.server.request_log.request_watch import SLOW_PATH, RequestWatch, each
from serving.server.rest.prometheus import Metrics
from serving.server.rest.rest_api import http_server, metrics_path
from serving.server.servable import Servable
from serving.server.servable_loader import load
from serving.server.settings_protos import ModelServerConfig, read_text
from serving.server.tls import server_credentials
from serving.server.version_facts import facts_of
from serving.server.worker_processes import shared_port, stop_with_parent, workers
from serving.wire.errors import StatusError

_DRAIN_SECONDS = 10.0
"""How long requests that are being run may take to finish after SIGTERM."""
_DECODED = 8
"""How many times the largest message a request's decoded inputs may take, and what is joined of
several.
"""


def main(argv: Sequence[str]) -> None:
    """Serves until SIGTERM or SIGINT. Raises ``InputError`` where there is nothing to serve or the
    port is taken; exits with code 1 where one of several processes ended by itself.
    """
    arguments = arguments_of(argv)
    stop = _stop_at_signals()
    try:
        try_address(arguments.host, arguments.port)  # before models are loaded
        if arguments.processes == 1:
            _serve(arguments, stop, lambda: None)
            return
        with shared_port(arguments.host, arguments.port) as port:
            arguments.port = port
            with workers(arguments.processes - 1, _work, arguments, stop) as all_ready:
                _serve(arguments, stop, all_ready)
    except ChildProcessError as error:
        _report(f"error: {error}; the server stops")
        sys.exit(1)
    except OSError as error:
        raise InputError(str(error)) from None


def _work(arguments: argparse.Namespace, ready: Any) -> None:
    """One of the other processes, in itself."""
    stop = _stop_at_signals()
    stop_with_parent(stop)
    run(lambda: _serve(arguments, stop, ready.set, says=False))


def _stop_at_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set, by way of a thread: a handler runs inside what the main
    thread is at, and would wait for ever for the event's lock where that holds it.
    """
    stop, told = threading.Event(), SimpleQueue[None]()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.put(None))  # the one queue that is made for handlers

    def watch() -> None:
        told.get()
        stop.set()

    threading.Thread(target=watch, name="watch-signals", daemon=True).start()
    return stop


def _serve(
    arguments: argparse.Namespace,
    stop: threading.Event,
    ready: Callable[[], None],
    *,
    says: bool = True,
) -> None:
    """Serves in this process until ``stop``; ``ready`` is called when it listens, then ``says``
    prints where.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    tf.get_logger().setLevel(
        logging.ERROR
    )  # the session loader calls itself deprecated; it is what the C++ server does
    keep_out_of_collections()
    health = Health()
    endpoint, parameters, metrics_at = (
        _endpoint(arguments),
        _batching(arguments),
        metrics_path(arguments.monitoring_config_file),
    )
    watch = RequestWatch.of(arguments)
    models = _models(arguments, health)
    if not _wait_for_versions(models, stop, arguments.file_system_poll_wait_seconds, says=says):
        return
    with ExitStack() as running:
        running.callback(models.close)
        running.callback(watch.close)
        most_bytes = _DECODED * arguments.max_message_bytes
        batcher = Batcher(parameters, most_bytes) if parameters else None
        if batcher:
            running.callback(batcher.close)
        service = Service(
            models,
            most_bytes,
            batcher,
            most_rows=arguments.max_rows,
            reload_root=arguments.reload_config_root,
        )
        metrics = Metrics(partial(facts_of, models), watch.kept) if metrics_at else None
        observe = each(metrics.observe, watch.observe) if metrics else watch.observe
        if arguments.rest_api_port is not None:
            texts = {metrics_at: metrics.text} if metrics and metrics_at else {}
            if watch.slow:
                texts[SLOW_PATH] = watch.slow.text
            http_port = running.enter_context(
                http_server(
                    arguments.host,
                    arguments.rest_api_port,
                    service,
                    texts,
                    report=_report,
                    observe=partial(observe, entrypoint="REST"),
                    seconds=arguments.rest_api_timeout_in_ms / 1000,
                    threads=arguments.rest_api_num_threads,
                )
            )
        server, port = start(service, endpoint, health, observe)
        running.callback(lambda: server.stop(_DRAIN_SECONDS).wait())
        running.callback(health.enter_graceful_shutdown)
        ready()
        if says and not stop.is_set():
            served = ", ".join(
                f"{model.name} version {', '.join(map(str, model.versions))}" for model in models
            )
            print(f"Serving {served} on {arguments.host}:{port}", flush=True)
            if arguments.rest_api_port is not None:
                print(f"HTTP on {arguments.host}:{http_port}", flush=True)
        _look_for_changes(arguments, models)
        stop.wait()


def _models(arguments: argparse.Namespace, health: Health) -> Models[Servable]:
    configs = _configs(arguments)
    for config in configs:
        if not config.base_path.is_dir():
            raise InputError(f"{_flag(arguments)}: no such directory: {config.base_path}")
    try:
        return Models(
            configs,
            partial(
                load,
                session_config=_session_config(arguments),
                warm_up=arguments.enable_model_warmup,
                check=arguments.check_exported_versions,
            ),
            _report,
            labels_before_versions=arguments.allow_version_labels_for_unavailable_models,
            changed=health.show,
        )
    except StatusError as error:
        raise InputError(
            f"{_flag(arguments)}: {error.message}; see"
            " --allow-version-labels-for-unavailable-models"
        ) from None


def _configs(arguments: argparse.Namespace) -> list[ModelConfig]:
    """The models to serve. Raises ``InputError``."""
    if arguments.model_config_file is None:
        return [ModelConfig(arguments.model_name, arguments.model_base_path)]
    try:
        configs = model_configs(read_text(arguments.model_config_file, ModelServerConfig))
    except StatusError as error:
        raise InputError(f"{_flag(arguments)}: {error.message}") from None
    if not configs:
        raise InputError(f"{_flag(arguments)}: lists no models")
    return configs


def _flag(arguments: argparse.Namespace) -> str:
    if arguments.model_config_file is None:
        return "--model-base-path"
    return f"--model-config-file {arguments.model_config_file}"


def _endpoint(arguments: argparse.Namespace) -> Endpoint:
    return Endpoint(
        host=arguments.host,
        port=arguments.port,
        threads=arguments.grpc_max_threads,
        most_waiting=arguments.max_concurrent_requests,
        most_bytes=arguments.max_message_bytes,
        arguments=arguments.grpc_channel_arguments,
        shared=arguments.processes > 1,
        credentials=(
            server_credentials(arguments.ssl_config_file) if arguments.ssl_config_file else None
        ),
    )


def _batching(arguments: argparse.Namespace) -> Parameters | None:
    if not arguments.enable_batching:
        return None
    return (
        read_parameters(arguments.batching_parameters_file)
        if arguments.batching_parameters_file
        else Parameters()
    )


def _wait_for_versions(
    models: Models[Servable], stop: threading.Event, poll_seconds: float, *, says: bool
) -> bool:
    """Returns when every model has a version, or ``stop`` is set: then False.

    Raises:
      InputError: a version that is there cannot be loaded, or there is none and nobody is to look
        again.
    """
    said: set[str] = set()
    while True:
        problems = models.refresh()
        if models.available:
            return True
        for model in models:
            if model.version is None and (model.statuses() or not poll_seconds):
                raise InputError(problems[model.name])
            if model.version is None and says and problems[model.name] not in said:
                _report(f"{problems[model.name]}; waiting for one")
        said |= set(problems.values())
        if stop.wait(poll_seconds):
            return False


def _look_for_changes(arguments: argparse.Namespace, models: Models[Servable]) -> None:
    """Starts the threads that look for new versions and for another config."""
    if arguments.file_system_poll_wait_seconds:
        models.poll(arguments.file_system_poll_wait_seconds)
    said = ""

    def reconfigure() -> None:
        nonlocal said
        problem = ""
        try:
            models.reconfigure(_configs(arguments))
        except (InputError, StatusError) as error:
            problem = (
                f"{error}; the former config stays" if isinstance(error, InputError) else str(error)
            )
        if problem and problem != said:
            _report(problem)
        said = problem

    if arguments.model_config_file_poll_wait_seconds and arguments.model_config_file:
        models.every(arguments.model_config_file_poll_wait_seconds, reconfigure, "poll-config")


def _session_config(arguments: argparse.Namespace) -> object:
    both = arguments.tensorflow_session_parallelism
    return tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=arguments.tensorflow_intra_op_parallelism or both,
        inter_op_parallelism_threads=arguments.tensorflow_inter_op_parallelism or both,
    )


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
