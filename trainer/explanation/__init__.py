"""Says what a model reads: what it loses without each input, what moved one request's scores, and
how its gates mix experts.
"""
