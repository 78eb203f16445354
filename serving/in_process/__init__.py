"""An exported model asked in this process: no server, the same answers."""
