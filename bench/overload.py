"""What becomes of a server when more comes than it can answer: its goodput against the load.

python bench/overload.py                     loads from 0.5 to 5 times what it can do, 10 s each
python bench/overload.py --loads 1,3 --seconds 5

The servable's only stage sleeps as long as a model of 40 ms and 2 ms an instance would take, in batches of 16. So what
it can do is known (222 requests a second), and takes no processor from the load. Requests come at random times, each
with a deadline; README.md says what the columns are.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from served import serving
from support import stubs
from support.foreign_client import ForeignClient
from support.open_loop import open_loop

HERE = Path(__file__).resolve().parent
CAPACITY = 16 / 0.072  # requests a second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", default="0.5,0.8,1,1.5,2,3,5", help="in terms of what the servable can do")
    parser.add_argument("--seconds", type=float, default=10, help="measured for each load, after 2 s of it")
    parser.add_argument("--deadline", type=float, default=0.5, help="of each request, in seconds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made, serving(HERE / "servables", ["slow"]) as server:
        stubs.make(Path(made))
        with ForeignClient(stubs.load(Path(made)), server.grpc) as client:
            request = client.request("slow", "predict", [{"x": "text"}])
            print(f"deadline {options.deadline} s; at most {CAPACITY:.0f} requests a second\n")
            print("| load | goodput, of the most | median, ms | p99, ms | refused | in ms | expired |")
            print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
            for load in (float(text) for text in options.loads.split(",")):
                got = open_loop(client.stub.Predict, request, load * CAPACITY, options.deadline, 2, options.seconds)
                if got.wrong:
                    raise SystemExit(f"wrong: {got.wrong[0]}")
                sent = len(got.answered) + len(got.refused) + got.expired
                told = f"{1e3 * statistics.median(got.refused):.1f}" if got.refused else "-"
                print(
                    f"| {load:g} | {got.goodput / CAPACITY:.2f} | {1e3 * got.percentile(0.5):.0f} "
                    f"| {1e3 * got.percentile(0.99):.0f} | {len(got.refused) / sent:.2f} | {told} "
                    f"| {got.expired / sent:.3f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
