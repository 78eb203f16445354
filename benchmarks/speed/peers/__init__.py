"""The same model in other libraries: each a process of its own that reads arrays and writes its
scores.

The modules ``with_*`` import nothing of ours but ``handed``, so that they run in environments of
their own.
"""
