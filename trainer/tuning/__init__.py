"""Settings of pre-training that are tried one after another and judged on validation rows."""
