"""A client for the embedded server and for TensorFlow Serving alike.

Rows of raw features in, rows of scores out::

    with Client("127.0.0.1:8500", "recommender") as client: client.predict([{"user_id": "u1",
        "item_id": "i7"}], domain="scene=home")  # [{"click": 0.12, "order": 0.01, ...}]

One user's candidates in, their order out::

    with Ranker("127.0.0.1:8500", "recommender") as ranker: ranking = ranker.rank({"user_id": "u1"},
        [{"item_id": "i7"}, {"item_id": "i9"}], domain="scene=home") ranking.scores, ranking.order
        # [0.01, 0.03], [1, 0]

As a command, JSON lines in and JSON lines out::

    python -m serving.client --target HOST:PORT --model-name M --domain D --requests FILE.jsonl
"""

from serving.client.client import Client
from serving.client.connection import Tls
from serving.client.ranker import Ranker, Ranking

__all__ = ["Client", "Ranker", "Ranking", "Tls"]
