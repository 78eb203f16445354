"""The Beam job: logs in, a finished dataset out."""
