"""Builds the double-array trie in which SentencePiece keeps a precompiled character map.

A unit is a uint32 (source: darts-clone, darts.h, DoubleArrayUnit). A node at position `pos` with
offset `pos ^ base` has its child for byte b at `base ^ b`; that child carries b in bits 0-7, has
bit 8 set when a key ends there, and its own offset in bits 10-30. The value of a key that ends lies
at the node's base, with bit 31 set. A byte never equals a label with bit 31 set, so that units
nobody uses are filled with it and can match nothing.
"""

import struct
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

BLOCK = 256  # units; base ^ label stays inside the block of base
MAX_UNITS = 2**21  # offsets of up to 21 bits need no second encoding
MAX_NESTED_PREFIXES = 32  # SentencePiece follows no more keys that start at one position
VALUE_BIT = 1 << 31
HAS_VALUE_BIT = 1 << 8
OPEN_BLOCKS = 24  # blocks with room that are tried before a new one is begun
MISSES = 30  # nodes that did not fit, after which a block counts as full


@dataclass(frozen=True)
class _Trie:
    """The trie by node, breadth first, so that the children of a node lie beside each other.

    labels: byte that leads to a node; first, count: its children's range; values: -1 for none.
    """

    labels: Sequence[int]
    first: Sequence[int]
    count: Sequence[int]
    values: Sequence[int]


def charsmap(mapping: Mapping[bytes, bytes]) -> bytes:
    """The precompiled_charsmap that rewrites each key, longest first, to its value.

    Source: sentencepiece, normalizer.cc, EncodePrecompiledCharsMap: uint32 size of the trie in
    bytes, the trie, then the values, each ended by a null; the trie's value is where one begins.
    A value that another one ends with begins inside of that.
    """
    starts: dict[bytes, int] = {}
    texts = bytearray()
    longer = b""  # that the next values may be the end of: each comes behind those it ends
    # sorted from the end: the same bytes in whatever order keys come
    for value in sorted(set(mapping.values()), key=lambda value: value[::-1], reverse=True):
        assert b"\0" not in value, "a null ends a value"
        if longer.endswith(value) and longer:
            starts[value] = len(texts) - len(value) - 1
            continue
        starts[value] = len(texts)
        texts += value + b"\0"
        longer = value
    for key in mapping:
        if len(key) > MAX_NESTED_PREFIXES:
            nested = sum(key[:end] in mapping for end in range(1, len(key) + 1))
            assert nested <= MAX_NESTED_PREFIXES, "SentencePiece would stop before this key"
    units = build({key: starts[value] for key, value in mapping.items()}).tobytes()
    return struct.pack("<I", len(units)) + units + bytes(texts)


def build(values: Mapping[bytes, int]) -> np.ndarray:
    """The double array of the keys (bytes without null, not empty): uint32 [a multiple of 256]."""
    trie = _trie(values)
    taken = bytearray(BLOCK)
    used_bases = bytearray(BLOCK)
    units = array("I", [VALUE_BIT]) * BLOCK
    taken[0] = used_bases[0] = 1  # the root; SentencePiece refuses a trie whose root has offset 0
    units[0] = 0
    positions = array("I", [0]) * len(trie.labels)
    open_blocks = {0: 0}  # where a block begins -> nodes that did not fit
    for node, value in enumerate(trie.values):
        children = range(trie.first[node], trie.first[node] + trie.count[node])
        labels = [trie.labels[child] for child in children]
        if value >= 0:
            labels.insert(0, 0)
        if not labels:
            continue  # the root of no keys
        base = _find_base(labels, taken, used_bases, open_blocks)
        if base < 0:
            base = len(taken)
            assert base < MAX_UNITS, "a character map this large needs offsets beyond 21 bits"
            taken += bytes(BLOCK)
            used_bases += bytes(BLOCK)
            units += array("I", [VALUE_BIT]) * BLOCK
            if len(open_blocks) == OPEN_BLOCKS:
                del open_blocks[min(open_blocks)]
            open_blocks[base] = 0
        used_bases[base] = 1
        position = positions[node]
        units[position] |= (position ^ base) << 10
        if value >= 0:
            units[position] |= HAS_VALUE_BIT
            units[base] = VALUE_BIT | value
            taken[base] = 1
        for child in children:
            label = trie.labels[child]
            units[base ^ label] = label
            taken[base ^ label] = 1
            positions[child] = base ^ label
    return np.array(units, dtype="<u4")


def _find_base(
    labels: list[int], taken: bytearray, used_bases: bytearray, open_blocks: dict[int, int]
) -> int:
    """A base no other node has, at which every label falls on a free unit; -1 when there is none.

    Two nodes with one base would share their children.
    """
    first, *others = labels
    for block in list(open_blocks):
        slot = taken.find(0, block, block + BLOCK)
        while slot >= 0:
            base = slot ^ first
            if not used_bases[base] and not any(taken[base ^ label] for label in others):
                return base
            slot = taken.find(0, slot + 1, block + BLOCK)
        open_blocks[block] += 1
        if open_blocks[block] == MISSES:
            del open_blocks[block]
    return -1


def _trie(values: Mapping[bytes, int]) -> _Trie:
    """Groups the sorted keys by their first bytes, one depth at a time."""
    keys = sorted(values)
    key_values = np.array([values[key] for key in keys], dtype=np.int64)
    lengths = np.array([len(key) for key in keys], dtype=np.int64)
    depth_max = int(lengths.max(initial=0))
    table = np.zeros((len(keys), depth_max), dtype=np.uint8)
    for row, key in enumerate(keys):
        assert key, "a key is not empty"
        assert 0 not in key, "label 0 is for values"
        table[row, : len(key)] = np.frombuffer(key, dtype=np.uint8)
    labels = [np.zeros(1, dtype=np.int64)]
    parents = [np.zeros(0, dtype=np.int64)]
    node_values = [np.full(1, -1, dtype=np.int64)]
    rows = np.arange(len(keys))
    node_of_row = np.zeros(len(keys), dtype=np.int64)
    nodes = 1
    for depth in range(depth_max):
        inside = lengths[rows] > depth
        rows, node_of_row = rows[inside], node_of_row[inside]
        column = table[rows, depth].astype(np.int64)
        starts = np.ones(len(rows), dtype=bool)
        starts[1:] = (column[1:] != column[:-1]) | (node_of_row[1:] != node_of_row[:-1])
        labels.append(column[starts])
        parents.append(node_of_row[starts])
        node_of_row = nodes + np.cumsum(starts) - 1
        level_values = np.full(int(starts.sum()), -1, dtype=np.int64)
        ends = lengths[rows] == depth + 1
        level_values[node_of_row[ends] - nodes] = key_values[rows[ends]]
        node_values.append(level_values)
        nodes += len(level_values)
    count = np.bincount(np.concatenate(parents), minlength=nodes)
    first = 1 + np.concatenate([[0], np.cumsum(count)[:-1]])
    columns = (np.concatenate(labels), first, count, np.concatenate(node_values))
    return _Trie(*(array("i", column.astype(np.int32).tobytes()) for column in columns))
