"""Measures how a server stands up to load.

``load`` sends a request as soon as the last one is answered: what the server can do, from a given
number of connections. A server that slows down is asked less often, so that its slow moments hardly
show: the mistake known as coordinated omission. ``offer`` sends requests at moments that were drawn
beforehand, whatever the server does, and measures from those moments: what users get.

Requests are encoded once and answers are not decoded, so that the client takes as little as it can
of a machine it may share with the server.
"""

from serving.load_test.closed_loop import load
from serving.load_test.measured import Load
from serving.load_test.open_loop import offer
from serving.wire.request_encoding import encoded

__all__ = ["Load", "encoded", "load", "offer"]
