"""Holds the bodies: what stands between the embeddings and the logits. Each is one small file, and
all have one signature.

Each is a function ``(x, build) -> list[TaskHead]``: ``x`` ``[B, D]`` is every feature's embedding
side by side, ``build`` is a ``trainer.backbone.bodies.builder.Build``; it returns one ``TaskHead``
for each of ``trainer.backbone.bodies.builder.Build.tasks``.
"""
