"""What the fuzz tests share: damaged bytes and documents, and bounds on time and memory.

Without ``FUZZ_SECONDS`` each test tries a fixed set of inputs, the same on every machine. With it
(``make fuzz``) it tries new ones for so many seconds.
"""

from __future__ import annotations

import os
import resource
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rag_audio.errors import RagAudioError

LONG_S = 2.0
"""Processor seconds that one input may take."""
LARGE_BYTES = 400 << 20
"""What the whole process may grow by in one test."""

_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

Check = Callable[[Any], None]


def fuzzed(inputs: st.SearchStrategy[Any], examples: int) -> Callable[[Check], Callable[[], None]]:
    """A test that gives a function many inputs; it may raise :class:`RagAudioError` only."""

    def decorate(check: Check) -> Callable[[], None]:
        def bounded(value: Any) -> None:
            try:
                took = _processor_s(check, value)
                if took >= LONG_S:  # once may be an import, or the garbage of other tests
                    took = _processor_s(check, value)
                assert took < LONG_S, f"{took:.1f} s"
            except Exception as error:
                error.add_note(f"the input: {value!r}"[:20_000])
                raise

        def once(examples: int, fixed: bool) -> None:
            rules = settings(
                max_examples=examples, derandomize=fixed, database=None, deadline=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],  # to shorten a slow input would take minutes
            )  # fmt: skip
            rules(given(inputs)(bounded))()

        def test() -> None:
            with memory_bounded():
                seconds = float(os.environ.get("FUZZ_SECONDS", 0))
                end = time.monotonic() + seconds
                once(examples, fixed=True)
                while time.monotonic() < end:
                    once(500, fixed=False)

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        test.__module__ = check.__module__
        return test

    return decorate


def _processor_s(check: Check, value: Any) -> float:
    begun = time.process_time()
    with suppress(RagAudioError):
        check(value)
    return time.process_time() - begun


@contextmanager
def memory_bounded() -> Iterator[None]:
    """The process's greatest size grows by less than :data:`LARGE_BYTES` within the block."""
    before = _greatest_bytes()
    yield
    grown = _greatest_bytes() - before
    assert grown < LARGE_BYTES, f"{grown >> 20} MB"


def _greatest_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@st.composite
def damaged(draw: st.DrawFn, seeds: Sequence[bytes], most: int = 4) -> bytes:
    """One of the seeds with up to ``most`` changes: bytes, sizes, cuts, repetitions, insertions."""
    made = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, most))):
        # Headers matter more than what is in the middle.
        at = draw(st.one_of(st.integers(0, min(64, len(made))), st.integers(0, len(made))))
        change = draw(st.sampled_from(("byte", "size", "cut", "end", "repeat", "insert", "swap")))
        length = draw(st.integers(1, 64))
        if change == "byte":
            made[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif change == "size":
            order = draw(st.sampled_from("<>"))
            width = draw(st.sampled_from("HI"))
            value = draw(st.sampled_from(_EXTREMES)) & (0xFFFF if width == "H" else 0xFFFFFFFF)
            packed = struct.pack(order + width, value)
            made[at : at + len(packed)] = packed
        elif change == "cut":
            del made[at : at + length]
        elif change == "end":
            del made[at:]
        elif change == "repeat":
            made[at:at] = made[at : at + length] * draw(st.integers(1, 40))
        elif change == "insert":
            made[at:at] = draw(st.binary(min_size=1, max_size=24))
        else:
            other = draw(st.sampled_from(seeds))
            made[at:] = other[min(at, len(other)) :]
    return bytes(made)


_WRONG = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12),
    st.sampled_from((-1, 0, 1, 1 << 53, -(1 << 63), 10**400, float("nan"), float("inf"), "", "\0")),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=4), st.none(), max_size=2),
    st.sampled_from((3, 50, 300)).map(lambda depth: _nested(depth)),
)  # fmt: skip


def _nested(depth: int) -> Any:
    made: Any = []
    for _ in range(depth):
        made = [made]
    return made


@st.composite
def altered(draw: st.DrawFn, documents: Sequence[Any], most: int = 3) -> Any:
    """One of the JSON documents with up to ``most`` values replaced, removed, added or doubled."""
    made = _copied(draw(st.sampled_from(documents)))
    for _ in range(draw(st.integers(1, most))):
        places = list(_places(made))
        if not places:
            return draw(_WRONG)
        holder, name = draw(st.sampled_from(places))
        change = draw(st.sampled_from(("replace", "replace", "remove", "add", "double")))
        if change == "replace":
            holder[name] = draw(_WRONG)
        elif change == "remove":
            del holder[name]
        elif change == "add" and isinstance(holder, dict):
            holder[draw(st.text(max_size=6))] = draw(_WRONG)
        elif isinstance(holder, list):
            holder.insert(name, _copied(holder[name]))
    return made


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copied(one) for name, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list | tuple) else value


def _places(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Every value in a document, as what holds it and its name there."""
    if depth > 20:
        return
    names = list(value) if isinstance(value, dict) else range(len(value))
    for name in names:
        yield value, name
        if isinstance(value[name], dict | list):
            yield from _places(value[name], depth + 1)
