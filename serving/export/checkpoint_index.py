"""The index of a TensorFlow checkpoint: which data file holds a tensor, where, and with what
checksum.

TensorFlow has no operation that takes a tensor out of an index, which is what giving a version
other kernels needs. The file is a small sorted table in LevelDB's format: blocks of keys and
values, a block of the blocks' places, a footer.
"""

import struct

import google_crc32c

from serving.wire.tensor_protos import varint

Entries = dict[bytes, bytes]
"""Tensor name -> serialized ``BundleEntryProto``; under the empty name the
``BundleHeaderProto``.
"""

_MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES = 48


def read_index(table: bytes) -> Entries:
    """Everything in an index, the header (under the empty name) included. Raises ``ValueError``
    where it is damaged.
    """
    if len(table) < _FOOTER_BYTES or struct.unpack_from("<Q", table, len(table) - 8)[0] != _MAGIC:
        raise ValueError("not a checkpoint's index")
    footer = table[-_FOOTER_BYTES:]
    place = _handle(
        footer, _handle(footer, 0)[2]
    )  # the first handle is of the block of filters, of which there are none
    entries: Entries = {}
    for handle in _block(table, *place[:2]).values():
        entries |= _block(table, *_handle(handle, 0)[:2])
    return entries


def write_index(entries: Entries) -> bytes:
    """The index of such entries, in one block."""
    table = bytearray()

    def add(block: bytes) -> bytes:
        handle = varint(len(table)) + varint(len(block))
        kind = b"\0"  # not compressed
        table.extend(block + kind + struct.pack("<I", _masked(google_crc32c.value(block + kind))))
        return handle

    data, filters = add(_written(entries)), add(_written({}))
    footer = filters + add(_written({max(entries): data}))
    return bytes(table) + footer.ljust(_FOOTER_BYTES - 8, b"\0") + struct.pack("<Q", _MAGIC)


def _written(entries: Entries) -> bytes:
    """A block; every key is written out, and its restarts are the one that must be there."""
    records = [
        b"\0" + varint(len(key)) + varint(len(value)) + key + value
        for key, value in sorted(entries.items())
    ]  # shared, own and value's lengths
    return b"".join(records) + struct.pack("<II", 0, 1)


def _block(table: bytes, start: int, size: int) -> Entries:
    block, kind = table[start : start + size], table[start + size : start + size + 1]
    (checksum,) = struct.unpack_from("<I", table, start + size + 1)
    if kind != b"\0" or checksum != _masked(google_crc32c.value(block + kind)):
        raise ValueError("a block of the checkpoint's index is damaged or compressed")
    end = size - 4 * (1 + struct.unpack_from("<I", block, size - 4)[0])
    entries: Entries = {}
    key, at = b"", 0
    while at < end:
        shared, at = _number(block, at)
        own, at = _number(block, at)
        length, at = _number(block, at)
        key = key[:shared] + block[at : at + own]
        entries[key] = block[at + own : at + own + length]
        at += own + length
    return entries


def _handle(data: bytes, at: int) -> tuple[int, int, int]:
    """Start and size of a block, and where the handle ends."""
    start, at = _number(data, at)
    size, at = _number(data, at)
    return start, size, at


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A varint and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _masked(crc: int) -> int:
    """LevelDB stores checksums so, lest a checksum of data that holds checksums be weak."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
