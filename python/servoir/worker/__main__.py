"""python -m servoir.worker ARENA,CONTROL,MEMORY,EVENT[,MEMORY,EVENT] …: started by the server only.

The numbers are inherited descriptors: arena, control socket, the function lane's memory and event, the model lane's.
What follows them is for the list of processes.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    if len(sys.argv) < 2 or not sys.argv[1].replace(",", "").isdigit():
        sys.exit("servoir.worker is started by servoir.server.start_servables, not by hand")
    arena_fd, control_fd, *lane_fds = (int(number) for number in sys.argv[1].split(","))
    for fd in (arena_fd, control_fd, *lane_fds):
        os.set_inheritable(fd, False)

    # Before anything that takes long: from here on the worker ends when the server does.
    from servoir import _core, settings

    runtime = _core.WorkerRuntime(arena_fd, control_fd, mark_rooms=settings.MARK_ROOMS.value() == 1)

    from servoir.worker.run import run

    run(runtime, control_fd, lane_fds)


if __name__ == "__main__":
    main()
