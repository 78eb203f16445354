"""``python -m preprocessing.beam.worker_boot`` is a worker of an environment in which this package
is installed.

It keeps Beam's contract of SDK containers, so that a runner, or Beam's pool of workers, may start
it as the executable of one (``--container_executable``, or the environment ``PROCESS``). It does
what Beam's own ``boot`` does inside an image, and installs nothing.
"""

import argparse
import os
import sys
from collections.abc import Sequence

import grpc
from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc
from google.protobuf import json_format, text_format

_WAIT_SECONDS = 60.0


def environment(arguments: Sequence[str]) -> dict[str, str]:
    """What Beam's worker reads of its environment, from the arguments that a runner gives; what it
    leaves out is asked of its provision endpoint.
    """
    parser = argparse.ArgumentParser(prog="python -m preprocessing.beam.worker_boot")
    parser.add_argument("--id", required=True)
    parser.add_argument("--provision_endpoint", required=True)
    parser.add_argument("--control_endpoint")
    parser.add_argument("--logging_endpoint")
    given, _ = parser.parse_known_args(arguments)
    with grpc.insecure_channel(given.provision_endpoint) as channel:
        stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        response = stub.GetProvisionInfo(
            beam_provision_api_pb2.GetProvisionInfoRequest(),
            metadata=[("worker_id", given.id)],
            timeout=_WAIT_SECONDS,
            wait_for_ready=True,
        )
    info = response.info
    if given.control_endpoint:
        info.control_endpoint.url = given.control_endpoint
    if given.logging_endpoint:
        info.logging_endpoint.url = given.logging_endpoint
    found = {
        "WORKER_ID": given.id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
        "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.control_endpoint),
        "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.logging_endpoint),
    }
    if info.HasField("status_endpoint"):
        status = text_format.MessageToString(info.status_endpoint)
        found["STATUS_API_SERVICE_DESCRIPTOR"] = status
    return found


if __name__ == "__main__":
    os.environ |= environment(sys.argv[1:])
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)
