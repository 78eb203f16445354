"""An S3 server on loopback, moto's, for tests of remote folders."""
