"""What the loopback interface moves, by iperf3."""

from __future__ import annotations

import re
import subprocess


def iperf3_mb_per_second(seconds: float, port: int) -> float | None:
    """What iperf3 moves over loopback with one stream; None where there is no iperf3."""
    try:
        server = subprocess.Popen(
            ["iperf3", "-s", "-1", "-p", str(port), "-B", "127.0.0.1", "--forceflush"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except FileNotFoundError:
        return None
    try:
        assert server.stdout is not None
        for line in server.stdout:
            if "Server listening" in line:
                break
        client = subprocess.run(
            ["iperf3", "-c", "127.0.0.1", "-p", str(port), "-t", f"{seconds:.0f}", "-f", "m"],
            capture_output=True,
            text=True,
            check=False,
        )
        found = re.search(r"([\d.]+) Mbits/sec.*receiver", client.stdout)
        return float(found.group(1)) / 8 if found else None
    finally:
        server.kill()
        server.wait()
