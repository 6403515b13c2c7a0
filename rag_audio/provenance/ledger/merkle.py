"""Merkle trees as in RFC 6962, section 2.1: hashes, proofs, and their verification.

Pure functions over hashes of 32 bytes. Leaves are counted from 0 here; the ledger's ``seq`` is one
more. A *complete node* ``(level, index)`` is the hash over the leaves ``index · 2^level`` up to
``(index + 1) · 2^level``; once those leaves are there it never changes, so it can be stored.
The algorithms of verification are those of RFC 9162, sections 2.1.3.2 and 2.1.4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
"""The root of the tree without leaves."""

Node = Callable[[int, int], bytes]
"""Gives the complete node at (level, index); level 0 are the leaf hashes."""


def leaf_hash(document: bytes) -> bytes:
    """``SHA-256(0x00 ‖ document)``: the prefix keeps a leaf from being taken for a node."""
    return sha256(b"\x00" + document).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """``SHA-256(0x01 ‖ left ‖ right)``."""
    return sha256(b"\x01" + left + right).digest()


@dataclass
class Frontier:
    """The right edge of a growing tree: all that is needed to append and to know the root.

    Attributes:
        size: leaves so far.
        peaks: hashes of the complete subtrees that make up the tree, largest first: one per 1 in
            the binary digits of ``size``.
    """

    size: int = 0
    peaks: list[bytes] = field(default_factory=list)

    @classmethod
    def unpack(cls, size: int, packed: bytes) -> Frontier:
        """The inverse of :meth:`pack`.

        Raises:
            ValueError: as many peaks as ``size`` needs are not there.
        """
        if len(packed) != HASH_BYTES * size.bit_count():
            raise ValueError(f"{len(packed)} bytes of peaks do not make a tree of {size} leaves")
        starts = range(0, len(packed), HASH_BYTES)
        return cls(size, [packed[at : at + HASH_BYTES] for at in starts])

    def pack(self) -> bytes:
        """The peaks, one after the other."""
        return b"".join(self.peaks)

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Add a leaf hash; the inner nodes that it completes: (level ≥ 1, index, hash), upwards."""
        made: list[tuple[int, int, bytes]] = []
        self.size += 1
        level, merged = 0, leaf
        while not (self.size >> level) & 1:
            merged = node_hash(self.peaks.pop(), merged)
            level += 1
            made.append((level, (self.size >> level) - 1, merged))
        self.peaks.append(merged)
        return made

    def root(self) -> bytes:
        """The tree's root, ``MTH`` of RFC 6962."""
        if not self.peaks:
            return EMPTY_ROOT
        merged = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            merged = node_hash(peak, merged)
        return merged


def frontier_of(leaves: Iterable[bytes]) -> Frontier:
    """The frontier after all these leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier


def root_at(node: Node, size: int) -> bytes:
    """The root of the first ``size`` leaves."""
    return EMPTY_ROOT if size == 0 else _range_hash(node, 0, size)


def inclusion_path(node: Node, index: int, size: int) -> list[bytes]:
    """``PATH(index, D[size])`` of RFC 6962, 2.1.1: the siblings from the leaf up to the root.

    Raises:
        ValueError: there is no such leaf in a tree of that size.
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size} leaves")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_hash(node, middle, end))
            end = middle
        else:
            path.append(_range_hash(node, start, middle))
            start = middle
    return path[::-1]


def consistency_path(node: Node, old: int, new: int) -> list[bytes]:
    """``PROOF(old, D[new])`` of RFC 6962, 2.1.2; empty where there is nothing to prove.

    Raises:
        ValueError: ``old`` is larger than ``new``, or negative.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves has no earlier state of {old}")
    if old in (0, new):
        return []
    path: list[bytes] = []
    start, end, whole = 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_range_hash(node, middle, end))
            end = middle
        else:
            path.append(_range_hash(node, start, middle))
            start, whole = middle, False
    if not whole:
        path.append(_range_hash(node, start, end))
    return path[::-1]


def verify_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> bool:
    """Whether ``path`` leads from the leaf at ``index`` to ``root`` (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    at, last, merged = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            merged = node_hash(sibling, merged)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            merged = node_hash(merged, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and merged == root


def verify_consistency(
    old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes
) -> bool:
    """Whether ``path`` shows that ``new_root`` extends ``old_root`` (RFC 9162, 2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old == new:
        return not path and old_root == new_root
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    steps = list(path) if old & (old - 1) else [old_root, *path]
    if not steps:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = node_hash(step, first), node_hash(step, second)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            second = node_hash(second, step)
        at, last = at >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def _split(count: int) -> int:
    """The largest power of two smaller than ``count`` (≥ 2)."""
    return 1 << ((count - 1).bit_length() - 1)


def _range_hash(node: Node, start: int, end: int) -> bytes:
    """``MTH(D[start:end])``; ``start`` is where RFC 6962 would split."""
    count = end - start
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return node(level, start >> level)
    middle = start + _split(count)
    return node_hash(_range_hash(node, start, middle), _range_hash(node, middle, end))
