"""Looks at logs and proposes a config for them."""
