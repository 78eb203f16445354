"""Windows of time that a config counts back from a moment."""
