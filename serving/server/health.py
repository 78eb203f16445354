"""Answers gRPC's health checks: SERVING while every configured model can be asked, NOT_SERVING
before and while the server drains.
"""

from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckResponse


class Health(health.HealthServicer):  # type: ignore[misc, unused-ignore]
    """What health checks are answered; NOT_SERVING at first. ``enter_graceful_shutdown`` ends it
    with NOT_SERVING for good. It is asked for under the empty name, the only one that TensorFlow
    Serving's server knows; NOT_FOUND for others.
    """

    def __init__(self) -> None:
        super().__init__()
        self._available: bool | None = None
        self.show(available=False)

    def show(self, available: bool) -> None:
        """Answers SERVING or NOT_SERVING from now on; who watches is told of changes only."""
        if available is self._available:
            return
        self._available = available
        self.set("", HealthCheckResponse.SERVING if available else HealthCheckResponse.NOT_SERVING)
