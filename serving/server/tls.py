"""Sets TLS up as TensorFlow Serving does: ``--ssl_config_file``."""

from pathlib import Path

import grpc

from configs.errors import InputError
from serving.server.settings_protos import SSLConfig, read_text


def server_credentials(path: Path) -> grpc.ServerCredentials:
    """The server's key and certificate from an ``SSLConfig`` file; with ``client_verify`` clients
    need a certificate of ``custom_ca``.

    Raises:
      InputError: the file cannot be read, or a part is missing.
    """
    config = read_text(path, SSLConfig)
    for field in ("server_key", "server_cert", *(["custom_ca"] if config.client_verify else [])):
        if "-----BEGIN " not in getattr(config, field):
            raise InputError(
                f"{path}: {field} must hold the text of a PEM file, newlines written as \\n"
            )
    pair = (config.server_key.encode(), config.server_cert.encode())
    return grpc.ssl_server_credentials(
        [pair], config.custom_ca.encode() or None, config.client_verify
    )
