"""How fast every stage is, beside the peers and beside what the machine allows: ``python -m
benchmarks.speed``.
"""
