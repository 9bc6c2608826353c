"""A member that checks as fast as it can and writes down when: ``before after`` of each admission (s, wall clock).

    python -m tests.throttle.worker URL NODE SPEC MODE SECONDS FILE

Admissions go out in lines as they happen, so that a killed worker has told all it did.
"""

from __future__ import annotations

import os
import sys
import time

import sharedstate


def main() -> None:
    url, node, spec, mode, seconds, path = sys.argv[1:7]
    with sharedstate.connect(url, node=node, member_timeout=3.0) as state:
        throttle = state.throttle("t", spec, mode=mode, policy="closed", timeout=0.5)
        out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(out, b"ready\n")
        end = time.time() + float(seconds)
        while time.time() < end:
            before = time.time()
            decision = throttle.check()
            if decision:
                os.write(out, f"{before!r} {time.time()!r}\n".encode())
            elif decision.retry_after > 0.002:
                time.sleep(0.001)
        os.write(out, b"done\n")


if __name__ == "__main__":
    main()
