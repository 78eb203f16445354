"""Fine-tuning of many domains by many processes: shards that know nothing of each other, and one
that gathers them.
"""
