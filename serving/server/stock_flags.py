"""The flags of TensorFlow Serving's server that have no effect here: they are accepted, so that its
command lines work, and each says why in one line.
"""

import argparse
import sys

_CHANGES = "a version that cannot be loaded is tried again when its files change"
_LITE = "TensorFlow Lite is not served here"
_THREADS = "versions are loaded one after another and freed in threads of their own"
_WITHOUT_EFFECT = {
    "grpc-socket-path": "this server listens on --port alone",
    "rest-api-enable-cors-support": "this server sends no CORS headers",
    "enable-per-model-batching-parameters": "--batching-parameters-file is for all models",
    "num-load-threads": _THREADS,
    "num-unload-threads": _THREADS,
    "max-num-load-retries": _CHANGES,
    "load-retry-interval-micros": _CHANGES,
    "flush-filesystem-caches": "the system looks after its caches",
    "tensorflow-session-config-file": "see the flags --tensorflow-...-parallelism",
    "platform-config-file": "TensorFlow is the only platform",
    "per-process-gpu-memory-fraction": "TensorFlow chooses",
    "saved-model-tags": "the graph with the tag serve is served",
    "num-request-iterations-for-warmup": "each warm-up request is run once",
    "remove-unused-fields-from-bundle-metagraph": "the graph is held by TensorFlow",
    "prefer-tflite-model": _LITE,
    "use-tflite-model": _LITE,
    "num-tflite-pools": _LITE,
    "num-tflite-interpreters-per-pool": _LITE,
    "enable-signature-method-name-check": "Classify and Regress are not answered",
    "xla-cpu-compilation-enabled": "graphs are run as they are",
    "xla-gpu-compilation-enabled": "graphs are run as they are",
    "enable-profiler": "there is no profiler",
    "thread-pool-factory-config-file": "requests run in the threads of --grpc-max-threads",
    "mixed-precision": "graphs are run as they are",
    "skip-initialize-tpu": "there is no TPU",
    "enable-grpc-healthcheck-service": "health checks are always answered",
    "enable-serialization-as-tensor-content": "scores are sent in the repeated fields",
    "enforce-session-run-timeout": "what is late ends between batches",
}
"""Flag -> why it has no effect."""


def add_stock_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags; their values are not read."""
    for flag in _WITHOUT_EFFECT:
        parser.add_argument(f"--{flag}", nargs="?", const="true", help=argparse.SUPPRESS)
    parser.add_argument("--use-alts-credentials", nargs="?", const="true", help=argparse.SUPPRESS)


def refused_stock_flag(arguments: argparse.Namespace) -> str:
    """What is wrong where the connection would be less safe than a flag says; else empty."""
    if (arguments.use_alts_credentials or "false").lower() in ("false", "f", "0"):
        return ""
    return "--use-alts-credentials: there is no ALTS here; --ssl-config-file speaks TLS"


def warn_of_stock_flags(arguments: argparse.Namespace) -> None:
    """Says of each that is given that it has no effect."""
    for flag, why in _WITHOUT_EFFECT.items():
        if getattr(arguments, flag.replace("-", "_")) is not None:
            print(f"warning: --{flag} has no effect here: {why}", file=sys.stderr)
