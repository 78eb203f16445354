"""The version: of the package, of the command, and of what is released. It stands here alone."""

VERSION = "0.1.0"
