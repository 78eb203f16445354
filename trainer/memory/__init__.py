"""What kernels remember: time-decayed counts and rates by keys, as they were when a row was asked
for.
"""
