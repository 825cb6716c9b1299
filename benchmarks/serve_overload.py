#!/usr/bin/env python3
"""`sightline serve` with more requests than it can answer: what is still answered, how late, and how soon it is over.

    serve_overload.py --model FILE.onnx --tensor NAME=1x3x240x320     tensors
    serve_overload.py --faces DATA                                    pictures to /v1/detect (serve_compare.py install, first)

The sustainable rate is what a closed loop of --connections gets. Then, at arrival times that are fixed beforehand, half
of it (nominal), 3 and 10 times of it, and after each flood half of it again. Latency is from sending. --max-wait is the
model's setting of that name (docs/serving_access.md). Everything, the client too, is on this machine: at 10 times the
rate sending alone takes a share of the cores, which the server lacks.

  goodput      answered a second, against the sustainable rate
  p99          of those that were answered, against nominal
  refused p99  of refusals, from sending
  memory       PSS in MB before the flood, the most during it, and after it
  back         when, after the flood, p99 over half a second is within 1.5 times nominal, and nothing refused
"""
import argparse
import pathlib
import sys
import tempfile
import threading
import time

from measured_server import ROOT, run_load, sightline, table, wait_for_quiet

STEP_S = 0.25


class MemoryWatch(threading.Thread):
    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.most, self.over = server, 0.0, False

    def run(self):
        while not self.over:
            self.most = max(self.most, self.server.memory_mb())
            time.sleep(0.5)


def back_after_s(timeline, flood_ends_s, usual_ms):
    """The first step from which half a second is as it should be; None when there is none."""
    steps = [step for step in timeline if step["at_s"] >= flood_ends_s]
    for first, second in zip(steps, steps[1:]):
        if all(step["p99_ms"] <= 1.5 * usual_ms and not step["refused"] and not step["failed"] and step["accepted"]
               for step in (first, second)):
            return first["at_s"] - flood_ends_s
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--tensor", nargs="*", default=[])
    parser.add_argument("--faces", type=pathlib.Path)
    parser.add_argument("--program", default=None)
    parser.add_argument("--serve", nargs="*", default=[], help="further words for `sightline serve`")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--flood-connections", type=int, default=1000)
    parser.add_argument("--max-wait", help="of the model, as 50ms; nothing: requests wait until the queue is full")
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--factors", nargs="*", type=float, default=[3, 10])
    args = parser.parse_args()
    if args.faces:
        sys.path.insert(0, str(ROOT / "benchmarks" / "peers"))
        from serve_compare import prepare
        model, pictures = prepare(args.faces)
        path = "/v1/detect/loaded?confidence=0.7"
        load = ["--path", path, "--header", "Content-Type: image/jpeg", *(word for p in pictures for word in ("--body", p))]
    elif args.model and args.tensor:
        model = args.model
        load = ["--model", "loaded", *(word for t in args.tensor for word in ("--tensor", t))]
    else:
        sys.exit("serve_overload.py: --faces DATA, or --model FILE and --tensor NAME=SHAPE")
    wait_for_quiet()
    chosen = ["--model", f"loaded={model}"]
    if args.max_wait:
        config = pathlib.Path(tempfile.mkdtemp()) / "serve.yaml"
        config.write_text(f"models:\n  - {{model: {pathlib.Path(model).resolve()}, name: loaded, max_wait: {args.max_wait}}}\n")
        chosen = ["--config", config]
    # Without a limit: a closed loop that is refused would ask again at once.
    with sightline("--model", f"loaded={model}", *args.serve, program=args.program) as server:
        closed = run_load(["--http", server.http, *load, "--connections", args.connections, "--seconds", args.seconds, "--warmup", 2], server)["phases"]["load"]
        rate = closed["accepted_per_s"]
        print(f"sustainable: {rate:.0f} requests/s at {args.connections} connections, p99 {closed['accepted']['p99_ms']:.1f} ms\n", flush=True)
    with sightline(*chosen, *args.serve, program=args.program) as server:
        load = ["--http", server.http, *load]
        rows = []
        for factor in args.factors:
            before, watch = server.memory_mb(), MemoryWatch(server)
            watch.start()
            report = run_load([*load, "--connections", args.flood_connections, "--patience", 2, "--interval", STEP_S,
                               "--phase", f"nominal:{rate / 2}:{args.seconds}", "--phase", f"flood:{rate * factor}:{args.seconds}",
                               "--phase", f"after:{rate / 2}:{args.seconds}"], server)
            watch.over = True
            watch.join()
            nominal, flood, after = (report["phases"][name] for name in ("nominal", "flood", "after"))
            usual = nominal["accepted_from_sending"]["p99_ms"]
            in_flood = [step for step in report["timeline"] if args.seconds <= step["at_s"] < 2 * args.seconds]
            goodput = sum(step["accepted"] for step in in_flood) / args.seconds
            back = back_after_s(report["timeline"], 2 * args.seconds, usual)
            refused = flood["refused_from_sending"]
            arrived = sum(flood["statuses"].values()) + flood["given_up"] + flood["unanswered"]
            rows.append([f"{factor:g}x", f"{arrived / args.seconds:.0f}", f"{goodput:.0f} ({goodput / rate:.2f})", f"{usual:.1f}",
                         f"{flood['accepted_from_sending']['p99_ms']:.1f} ({flood['accepted_from_sending']['p99_ms'] / max(usual, 1e-9):.1f}x)",
                         refused["count"], f"{refused['p50_ms']:.1f} / {refused['p99_ms']:.1f}", flood["refused_without_retry_after"],
                         flood["failed"], flood["given_up"] + flood["unanswered"],
                         f"{before:.0f} / {watch.most:.0f} / {server.memory_mb():.0f}", "never" if back is None else f"{back:.2f}",
                         f"{flood['client_cpu_s'] / args.seconds:.2f}"])
            print(factor, flood["statuses"], after["statuses"], file=sys.stderr, flush=True)
            time.sleep(1)
        print(table(["load", "arrived/s", "goodput/s (of sustainable)", "nominal p99 ms", "p99 ms of the answered", "refused", "refused p50 / p99 ms",
                     "without Retry-After", "failed", "never sent or answered", "PSS MB before / most / after", "back after s", "client's cores"], rows))


if __name__ == "__main__":
    sys.exit(main())
