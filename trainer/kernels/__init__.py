"""Holds the kernel (IAK): encoder, decoder, gate, regulariser, the bank that routes rows to slots,
and its scores.
"""
