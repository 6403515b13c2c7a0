"""Become another program that may use little: ``python limited_exec.py CPU_S BYTES PROGRAM …``.

A process of its own sets its limits and then becomes the program, so that nothing of it ever runs
without them, and processes with threads can start it. It imports nothing but the standard library.
"""

from __future__ import annotations

import os
import resource
import signal
import sys

_FILES = 64


def main() -> None:
    """Set the limits, none above those that hold already, and go on as the program.

    Seconds of processor time and bytes of address space are given; files cannot be made longer,
    64 are open at most, and no core is left.
    """
    cpu_s, memory, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    _limit(resource.RLIMIT_CPU, cpu_s)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, _FILES)
    _limit(resource.RLIMIT_CORE, 0)
    # Python ignores it, and what is ignored stays so: a program whose reader went must end.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if sys.platform != "darwin":  # which has no such limit
        _limit(resource.RLIMIT_AS, memory)
    os.execv(program, sys.argv[3:])  # noqa: S606 (that is what this is for; there is no shell)


def _limit(what: int, most: int) -> None:
    allowed = resource.getrlimit(what)[1]
    if allowed != resource.RLIM_INFINITY:
        most = min(most, allowed)
    resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    main()
