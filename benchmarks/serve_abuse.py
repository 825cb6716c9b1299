#!/usr/bin/env python3
"""What idle connections and slow senders do to others' p99: a steady load is measured without them and with them, in turns.

    serve_abuse.py --model FILE.onnx --tensor NAME=1x3x240x320 [--idle 10000] [--slow 500]

Idle connections are opened and say nothing; slow senders send the head of a request, then a byte of its body a second,
each at a moment of its own.
Both are opened anew where the server ends them. All on this machine, over loopback, and bounded in number and time.
Prints p50 and p99 of the steady load (from sending; medians of the rounds) and what the server did to the others.
"""
import argparse
import multiprocessing
import resource
import selectors
import socket
import sys
import time

from measured_server import median, run_load, sightline, table, wait_for_quiet

MOST = 20000
HEAD = (b"POST /v2/models/loaded/infer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 1000000\r\n\r\n{")


def abuse(address, idle, slow, seconds, said):
    """In a process of its own: holds the connections, and tells how many there were at last and how many were ended."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    host, port = address.split(":")
    selector = selectors.DefaultSelector()
    kinds, slow_ones, ended, refused = {}, set(), {"idle": 0, "slow": 0}, 0

    def connect(kind):
        nonlocal refused
        try:
            connection = socket.create_connection((host, int(port)), timeout=5)
            connection.setblocking(False)
            if kind == "slow":
                connection.send(HEAD)
        except OSError:
            refused += 1
            return
        kinds[connection] = kind
        if kind == "slow":
            slow_ones.add(connection)
        selector.register(connection, selectors.EVENT_READ)

    def let_go(connection):
        ended[kinds.pop(connection)] += 1
        slow_ones.discard(connection)
        selector.unregister(connection)
        connection.close()

    for kind in ["idle"] * idle + ["slow"] * slow:
        connect(kind)
    said.put(("holding", len(kinds), refused))
    wanted = {"idle": idle, "slow": slow}
    step, steps = 0, 50  # of a second: in each, its share of the slow senders says a byte
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        until = began + (step + 1) / steps
        for key, _ in selector.select(max(0.0, until - time.monotonic())):
            try:
                if key.fileobj.recv(4096):
                    continue  # what it says before it ends the connection
            except BlockingIOError:
                continue
            except OSError:
                pass
            let_go(key.fileobj)
        if time.monotonic() < until:
            continue
        step += 1
        for connection in [c for c in slow_ones if c.fileno() % steps == step % steps]:
            try:
                connection.send(b" ")
            except BlockingIOError:
                pass
            except OSError:
                let_go(connection)
        if step % steps == 0:
            held = {"slow": len(slow_ones), "idle": len(kinds) - len(slow_ones)}
            for kind, count in wanted.items():
                for _ in range(min(500, count - held[kind])):
                    connect(kind)
    said.put(("held", len(kinds), ended, refused))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--tensor", nargs="+", required=True)
    parser.add_argument("--program", default=None)
    parser.add_argument("--serve", nargs="*", default=[], help="further words for `sightline serve`")
    parser.add_argument("--idle", type=int, default=10000)
    parser.add_argument("--slow", type=int, default=500)
    parser.add_argument("--rate", type=float, default=100, help="of the steady load, requests a second")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.idle + args.slow > MOST:
        sys.exit(f"serve_abuse.py: at most {MOST} connections")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limit < args.idle + args.slow + 100:
        sys.exit(f"serve_abuse.py: needs {args.idle + args.slow + 100} open files (ulimit -Hn is {limit})")
    wait_for_quiet()
    with sightline("--model", f"loaded={args.model}", *args.serve, program=args.program) as server:
        load = ["--http", server.http, "--model", "loaded", *(word for t in args.tensor for word in ("--tensor", t)), "--rate", args.rate,
                "--connections", 200, "--seconds", args.seconds, "--warmup", 1]
        phases = {"alone": [], "beside": []}
        rows, memory = [], [server.memory_mb()]
        for _ in range(args.rounds):
            phases["alone"].append(run_load(load, server)["phases"]["load"])
            said = multiprocessing.Queue()
            other = multiprocessing.Process(target=abuse, args=(server.http, args.idle, args.slow, args.seconds + 3, said), daemon=True)
            other.start()
            try:
                _, holding, refused = said.get(timeout=120)
                phases["beside"].append(run_load(load, server)["phases"]["load"])
                memory.append(server.memory_mb())
                _, held, ended, refused = said.get(timeout=120)
                other.join(60)
            finally:
                other.kill()
            rows.append([holding, held, ended["idle"], ended["slow"], refused])
        answers = {name: {key: median([p["accepted_from_sending"][key] for p in runs]) for key in ("p50_ms", "p99_ms", "p999_ms")}
                   for name, runs in phases.items()}
        bad = {name: sum(p["failed"] + p["given_up"] + p["unanswered"] + p["refused_from_sending"]["count"] for p in runs)
               for name, runs in phases.items()}
        cpu = {name: median([p["server_cpu_s"] / p["seconds"] for p in runs]) for name, runs in phases.items()}
        print(f"{args.rate:g} requests/s for {args.seconds:g} s, {args.rounds} rounds; {args.idle} idle connections and {args.slow} slow senders\n")
        print(table(["load", "p50 ms", "p99 ms", "p99.9 ms", "not answered", "server's cores"],
                    [[name, *(f"{answers[name][key]:.2f}" for key in ("p50_ms", "p99_ms", "p999_ms")), bad[name], f"{cpu[name]:.2f}"]
                     for name in phases]))
        print(f"\np99 moves by {answers['beside']['p99_ms'] / answers['alone']['p99_ms'] - 1:+.1%}; the server has {memory[0]:.0f} MB at first, "
              f"{max(memory[1:]):.0f} MB with them, {server.memory_mb():.0f} MB at the end\n")
        print(table(["connections held", "at the end", "idle ended", "slow ended", "refused"], rows))


if __name__ == "__main__":
    sys.exit(main())
