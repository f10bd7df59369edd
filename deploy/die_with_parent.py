"""Runs a program that the kernel kills when the thread that started it ends (Linux; elsewhere it just runs).

    python die_with_parent.py PARENT_PID PROGRAM [ARGUMENT …]

A script of its own, because `subprocess`'s preexec_fn is unsafe in a process with threads. It needs the
standard library only, so it is started with -I -S, which costs about 15 ms.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <sys/prctl.h>; it survives execve


def main(parent_pid: int, argv: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent_pid:  # the parent died before the line above
            raise SystemExit(0)
    # A background shell starts its children with SIGINT ignored, and that is inherited.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(argv[0], argv)  # noqa: S606  (an argument list, no shell)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
