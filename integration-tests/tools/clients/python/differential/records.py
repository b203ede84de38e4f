"""Record sets of the three formats."""

import gzip
import struct
import time
import zlib


def message(magic, offset, timestamp, key, value, attributes=0):
    """A message of format 0 or 1."""
    sized = lambda data: struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data
    body = struct.pack(">bb", magic, attributes)
    if magic:
        body += struct.pack(">q", timestamp)
    body += sized(key) + sized(value)
    body = struct.pack(">I", zlib.crc32(body)) + body
    return struct.pack(">qi", offset, len(body)) + body


def wrapped(magic, timestamp, pairs):
    """Messages compressed into one, with gzip."""
    inner = b"".join(message(magic, i, timestamp, k, v) for i, (k, v) in enumerate(pairs))
    return message(magic, len(pairs) - 1, timestamp, None, gzip.compress(inner, mtime=0), attributes=1)


def varint(value):
    zigzag, out = (value << 1) ^ (value >> 63), bytearray()
    zigzag &= (1 << 64) - 1
    while zigzag >= 0x80:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    return bytes(out) + bytes([zigzag])


def crc32c(data, table=[]):
    if not table:
        for i in range(256):
            c = i
            for _ in range(8):
                c = (c >> 1) ^ 0x82F63B78 if c & 1 else c >> 1
            table.append(c)
    c = 0xFFFFFFFF
    for byte in data:
        c = table[(c ^ byte) & 0xFF] ^ (c >> 8)
    return c ^ 0xFFFFFFFF


def batch(timestamp, pairs, producer=(-1, -1, -1), attributes=0):
    """A batch of format 2."""
    sized = lambda data: varint(-1) if data is None else varint(len(data)) + data
    records = b""
    for i, (key, value) in enumerate(pairs):
        body = b"\0" + varint(0) + varint(i) + sized(key) + sized(value) + varint(0)
        records += varint(len(body)) + body
    tail = struct.pack(">hiqqqhii", attributes, len(pairs) - 1, timestamp, timestamp, *producer, len(pairs)) + records
    head = struct.pack(">ibI", -1, 2, crc32c(tail))
    return struct.pack(">qi", 0, len(head) + len(tail)) + head + tail


PAIRS = [(b"k0", b"v0"), (b"k1", None), (b"k2", b"v2")]
# Of this hour, so that retention leaves the records alone; the same for both brokers.
TIMESTAMP = int(time.time()) * 1000


def for_version(version):
    """What a producer that speaks this version of Produce sends."""
    if version >= 3:
        return batch(TIMESTAMP, PAIRS)
    magic = 1 if version == 2 else 0
    return b"".join(message(magic, i, TIMESTAMP, k, v) for i, (k, v) in enumerate(PAIRS))
