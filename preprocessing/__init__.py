"""Logs -> datasets, by Apache Beam; and the one feature transform."""

import logging

# Beam says on the root logger, whenever it is imported, that Google's client libraries are not
# there; nobody here misses them.
logging.getLogger().addFilter(lambda record: "apitools not found" not in str(record.msg))
