"""Three ways to stay fresh, replayed day by day: a backbone trained from scratch, one that goes on,
and a frozen one with kernels.
"""
