#!/usr/bin/env python3
"""`sightline serve` beside Python servers: the same pictures, model file, load and cores, in one run.

    serve_compare.py install              a virtual environment for each peer in build/peers_serve/
    serve_compare.py faces --data DATA    JPEG in, faces out, with what the bare work costs (build/bin/serve_floor)
    serve_compare.py tensors --data DATA  tensors in and out with a model that does next to nothing, beside MLServer;
                                          what is added to the bare inference; the rate at saturation beside the bare one

DATA has models/ultraface_rfb_320.onnx and media/faces/dlib. Each server has two workers of one thread, and this machine
with the client (build/bin/serve_load). Figures are medians of the rounds, in which the servers take turns. CPU is that
of all processes of a server; memory is their proportional set size (PSS) right after the load.
"""
import argparse
import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from measured_server import ROOT, MeasuredServer, free_port, median, post, run_load, sightline, table, wait_for_quiet  # noqa: E402

ENVIRONMENTS = ROOT / "build" / "peers_serve"
PYTHON_SERVERS = ("uvicorn", "litserve", "bentoml", "mlserver", "ray")
WORKERS = 2
SERVING = HERE / "serving"


def install():
    for name in ("prepare", *PYTHON_SERVERS):
        folder, wanted = ENVIRONMENTS / name, (SERVING / "requirements" / f"{name}.txt").read_text()
        mark = folder / "installed.txt"
        if mark.exists() and mark.read_text() == wanted:
            continue
        print(f"installing {name}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "-q", "-r", SERVING / "requirements" / f"{name}.txt"], check=True)
        mark.write_text(wanted)


def prepare(data):
    """The mended model and the pictures."""
    model, pictures = ENVIRONMENTS / "faces.onnx", ENVIRONMENTS / "pictures"
    python = ENVIRONMENTS / "prepare" / "bin" / "python"
    if not model.exists():
        subprocess.run([python, HERE / "mend_inputs.py", data / "models" / "ultraface_rfb_320.onnx", model], check=True)
    if not list(pictures.glob("*.jpg")):
        subprocess.run([python, SERVING / "pictures.py", "--media", data / "media" / "faces" / "dlib", "--model", model,
                        "--out", pictures], check=True)
    return model, sorted(pictures.glob("*.jpg"))


class Raw:
    """A server that takes the picture as it is and answers with what faces.py gives."""
    path, type = "/detect", "image/jpeg"
    ready = "/ready"
    environment = {}

    def __init__(self, name):
        self.name = name

    def body(self, jpeg):
        return jpeg

    def faces(self, answer):
        return [(face["score"], face["box"]) for face in json.loads(answer)["faces"]]

    def command(self, port, folder):
        return [ENVIRONMENTS / self.name / "bin" / "python", SERVING / f"{self.name}_server.py"]

    def start(self, model, folder, log):
        port = free_port()
        server = MeasuredServer(self.command(port, folder), folder=SERVING, ready=f"http://127.0.0.1:{port}{self.ready}", log=log,
                                environment={"PORT": str(port), "WORKERS": str(WORKERS), "FACES_MODEL": str(model),
                                             "PYTHONPATH": str(SERVING), "OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1",
                                             "BENTOML_DO_NOT_TRACK": "True", "RAY_USAGE_STATS_ENABLED": "0",
                                             "BENTOML_HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **self.environment})
        server.http = f"127.0.0.1:{port}"
        return server


class LitServe(Raw):
    type, ready = "application/json", "/health"

    def body(self, jpeg):
        return json.dumps({"picture": base64.b64encode(jpeg).decode()}).encode()


class BentoML(Raw):
    ready = "/readyz"

    def command(self, port, folder):
        return [ENVIRONMENTS / self.name / "bin" / "bentoml", "serve", "bentoml_server:Detector", "--host", "127.0.0.1", "--port", port]


class MLServer(Raw):
    path, type, ready = "/v2/models/faces/infer", "application/json", "/v2/health/ready"

    def __init__(self, name, model="Detector", served="faces", workers=WORKERS, grpc=None):
        super().__init__(name)
        self.model, self.served, self.workers = model, served, workers

    def body(self, jpeg):
        return json.dumps({"inputs": [{"name": "picture", "shape": [1], "datatype": "BYTES",
                                       "data": [base64.b64encode(jpeg).decode()]}]}).encode()

    def faces(self, answer):
        return super().faces(json.loads(answer)["outputs"][0]["data"][0])

    def command(self, port, folder):
        self.grpc = free_port()
        settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": self.grpc, "metrics_endpoint": None, "debug": False,
                    "parallel_workers": self.workers, "use_structured_logging": False}
        (folder / "settings.json").write_text(json.dumps(settings))
        (folder / "model-settings.json").write_text(json.dumps(
            {"name": self.served, "implementation": f"mlserver_server.{self.model}"}))
        return [ENVIRONMENTS / self.name / "bin" / "mlserver", "start", folder]


class Ray(Raw):
    ready = "/detect/ready"
    environment = {"RAY_worker_niceness": "0"}  # else its workers yield to everything, and to its own proxy


class Sightline(Raw):
    path = "/v1/detect/faces"

    def __init__(self, program):
        super().__init__("sightline")
        self.program = program

    def faces(self, answer):
        return [(found["confidence"], found["box_xyxy_px"]) for found in json.loads(answer)["detections"]]

    def start(self, model, folder, log):
        return sightline("--model", f"faces={model}", "--instances", WORKERS, program=self.program, log=log)


def overlap(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def alike(found, expected):
    """Of the faces of both sides, how many have a partner with an IoU of 0.5 and 0.9, and the mean IoU of partners."""
    total, at_half, at_nine, overlaps = 0, 0, 0, []
    for here, there in zip(found, expected):
        total += max(len(here), len(there))
        rest = [box for _, box in there]
        for _, box in sorted(here, reverse=True):
            best = max(rest, key=lambda other: overlap(box, other), default=None)
            if best is None or overlap(box, best) < 0.5:
                continue
            rest.remove(best)
            overlaps.append(overlap(box, best))
            at_half, at_nine = at_half + 1, at_nine + (overlaps[-1] >= 0.9)
    return at_half / max(1, total), at_nine / max(1, total), sum(overlaps) / max(1, len(overlaps))


def measure(peer, model, pictures, args, answers, folder):
    with open(folder / "log.txt", "w") as log, peer.start(model, folder, log) as server:
        bodies = []
        for i, picture in enumerate(pictures):
            bodies.append(folder / f"{i:03}.body")
            bodies[-1].write_bytes(peer.body(picture.read_bytes()))
        if peer.name not in answers:
            answers[peer.name] = []
            for body in bodies:
                status, _, answer = post(f"http://{server.http}{peer.path}", body.read_bytes(), {"Content-Type": peer.type})
                if status != 200:
                    raise RuntimeError(f"{peer.name} answered {status}: {answer[:300]}")
                answers[peer.name].append(peer.faces(answer))
        report = run_load(["--http", server.http, "--path", peer.path, "--header", f"Content-Type: {peer.type}", "--connections",
                           args.connections, "--seconds", args.seconds, "--warmup", args.warmup,
                           *(word for body in bodies for word in ("--body", body))], server)
        load = report["phases"]["load"]
        done = load["accepted"]["count"]
        if load["failed"] or load["refused_from_sending"]["count"] or done == 0:
            raise RuntimeError(f"{peer.name}: {load['statuses']}")
        return {"rate": load["accepted_per_s"], "p50": load["accepted"]["p50_ms"], "p99": load["accepted"]["p99_ms"],
                "server": load["server_cpu_s"] * 1e3 / done, "client": load["client_cpu_s"] * 1e3 / done,
                "memory": server.memory_mb()}


def floor(*arguments):
    done = subprocess.run([ROOT / "build" / "bin" / "serve_floor", *map(str, arguments)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def faces(args):
    model, pictures = prepare(args.data)
    peers = {"sightline": Sightline(args.program), "uvicorn": Raw("uvicorn"), "litserve": LitServe("litserve"),
             "bentoml": BentoML("bentoml"), "mlserver": MLServer("mlserver"), "ray": Ray("ray")}
    chosen = [name for name in peers if not args.only or name in args.only]
    results, answers, floors = {name: [] for name in chosen}, {}, {}
    for turn in range(args.rounds):
        for decode in ("full", "half", "full_yuv", "half_yuv"):
            floors.setdefault(decode, []).append(
                floor("--model", model, "--decode", decode, "--seconds", args.seconds / 2, *pictures))
        for name in chosen if turn % 2 == 0 else reversed(chosen):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    results[name].append(measure(peers[name], model, pictures, args, answers, pathlib.Path(folder)))
                    print(name, {key: round(value, 3) for key, value in results[name][-1].items()}, file=sys.stderr, flush=True)
                except RuntimeError as error:
                    print(f"{name}: {error}\n{(pathlib.Path(folder) / 'log.txt').read_text()[-1500:]}", file=sys.stderr)
    if args.keep:
        kept = json.loads(args.keep.read_text()) if args.keep.exists() else {"results": {}, "floors": {}}
        for name, runs in kept["results"].items():
            results[name] = runs + results.get(name, [])
        for decode, runs in kept["floors"].items():
            floors[decode] = runs + floors.get(decode, [])
        chosen = [name for name in peers if results.get(name)]
        args.keep.write_text(json.dumps({"results": results, "floors": floors}))
    print(f"{len(pictures)} pictures, {args.connections} connections, {args.seconds} s, {max(map(len, results.values()))} rounds, {os.cpu_count()} cores; CPU of "
          "server and client in ms a request\n")
    of = lambda name, key: median([result[key] for result in results[name]])
    bare = {decode: median([run["cpu_ms_per_run"] for run in runs]) for decode, runs in floors.items()}
    print(table(["bare decode and inference", "CPU ms", "pictures/s"],
                [[decode, f"{bare[decode]:.2f}", f"{median([run['runs_per_s'] for run in runs]):.0f}"]
                 for decode, runs in floors.items()]) + "\n")
    expected = answers.get("uvicorn") or next(iter(answers.values()), [])
    rows = []
    for name in chosen:
        if not results[name]:
            rows.append([name, "failed"] + [""] * 7)
            continue
        half, nine, mean = alike(answers[name], expected) if name in answers else (0, 0, 0)
        cpu = of(name, "server") + of(name, "client")
        rows.append([name, f"{of(name, 'rate'):.0f}", f"{of(name, 'p50'):.1f}", f"{of(name, 'p99'):.1f}", f"{of(name, 'server'):.2f}",
                     f"{of(name, 'client'):.2f}", f"{cpu:.2f}", f"{cpu / bare['full']:.2f}", f"{of(name, 'memory'):.0f}",
                     f"{half:.3f} / {nine:.3f} ({mean:.3f})"])
    print(table(["server", "requests/s", "p50 ms", "p99 ms", "server CPU", "client CPU", "both", "of the bare full decode", "PSS MB",
                 "faces alike at IoU 0.5 / 0.9 (mean)"], rows))
    print(f"\n{sum(map(len, expected)) / max(1, len(expected)):.2f} faces a picture")


def tensors(args):
    trivial = ROOT / "tests" / "data" / "serving" / "add_sub.onnx"
    given = ["--model", "add_sub", "--tensor", "INPUT0=1x16", "--tensor", "INPUT1=1x16"]
    loads = [("1 connection", ["--connections", 1]), ("8 connections", ["--connections", 8]), ("32 connections", ["--connections", 32])]
    timed = ["--seconds", args.seconds / 2, "--warmup", args.warmup]
    seen = {}

    def note(name, what, report, server):
        load = report["phases"]["load"]
        done = max(1, load["accepted"]["count"])
        seen.setdefault((name, what), []).append((load["accepted_per_s"], load["accepted"]["p50_ms"] * 1e3, load["accepted"]["p99_ms"] * 1e3,
                                                  load["server_cpu_s"] * 1e6 / done))
        print(name, what, seen[(name, what)][-1], file=sys.stderr, flush=True)

    for _ in range(args.rounds):
        with sightline("--model", trivial, "--instances", WORKERS, program=args.program, grpc=True) as server:
            for what, load in loads:
                note("sightline HTTP, binary", what, run_load(["--http", server.http, *given, *load, *timed], server), server)
                note("sightline HTTP, JSON", what, run_load(["--http", server.http, "--json", *given, *load, *timed], server), server)
                note("sightline gRPC", what, run_load(["--grpc", server.grpc, *given, *load, *timed], server), server)
        for workers in (0, WORKERS):
            with tempfile.TemporaryDirectory() as folder, open(pathlib.Path(folder) / "log.txt", "w") as log:
                peer = MLServer("mlserver", "AddSub", "add_sub", workers)
                with peer.start(trivial, pathlib.Path(folder), log) as server:
                    name = "in its own process" if workers == 0 else f"{workers} workers"
                    for what, load in loads:
                        note(f"MLServer HTTP, JSON, {name}", what, run_load(["--http", server.http, "--json", *given, *load, *timed], server), server)
                        note(f"MLServer gRPC, {name}", what, run_load(["--grpc", f"127.0.0.1:{peer.grpc}", *given, *load, *timed], server), server)
    print("A model of an addition and a subtraction, 2 x 16 numbers\n")
    print(table(["server", "load", "requests/s", "p50 us", "p99 us", "server CPU us"],
                [[name, what, *(f"{median([run[i] for run in runs]):.0f}" for i in range(4))] for (name, what), runs in seen.items()]))
    real = [("ultraface_rfb_320", ["--tensor", "input=1x3x240x320"], ENVIRONMENTS / "faces.onnx")]
    if args.data:
        prepare(args.data)
        real.append(("fastestdet_352", ["--tensor", "input.1=1x3x352x352"], args.data / "models" / "fastestdet_352.onnx"))
    rows = []
    for name, shape, file in real:
        if not file.exists():
            continue
        bare, bare_cpu, alone, one = [], [], [], []
        seen = {"--http": [], "--grpc": []}
        for _ in range(args.rounds):
            both = floor("--model", file, "--tensors", "--threads", WORKERS, "--seconds", args.seconds / 2)
            bare.append(both["runs_per_s"])
            bare_cpu.append(both["cpu_ms_per_run"])
            alone.append(floor("--model", file, "--tensors", "--threads", 1, "--seconds", args.seconds / 2)["p50_ms"])
            with sightline("--model", f"real={file}", "--instances", WORKERS, program=args.program, grpc=True) as server:
                load = ["--model", "real", *shape, *timed]
                for kind, where in (("--http", server.http), ("--grpc", server.grpc)):
                    full = run_load([kind, where, *load, "--connections", 8], server)["phases"]["load"]
                    done = max(1, full["accepted"]["count"])
                    seen[kind].append((full["accepted_per_s"], full["server_cpu_s"] * 1e3 / done, full["client_cpu_s"] * 1e3 / done))
                one.append([run_load([kind, where, *load, "--connections", 1], server)["phases"]["load"]["accepted"]["p50_ms"]
                            for kind, where in (("--http", server.http), ("--grpc", server.grpc))])
        for i, kind in enumerate(seen):
            rate, server_ms, client_ms = (median([run[k] for run in seen[kind]]) for k in range(3))
            rows.append([name, kind[2:], f"{median(bare):.0f}", f"{rate:.0f} ({rate / median(bare):.2f})", f"{median(bare_cpu):.2f}",
                         f"{server_ms:.2f} ({median(bare_cpu) / server_ms:.2f})", f"{client_ms:.2f}", f"{median(alone):.3f}",
                         f"{(median([o[i] for o in one]) - median(alone)) * 1e3:.0f}"])
    print("\n" + table(["model", "by", "bare, 2 threads, runs/s", "served at 8 connections (share)", "bare CPU ms", "server's CPU ms (bare share)",
                        "client's CPU ms", "bare p50 ms, one thread", "p50 added at 1 connection, us"], rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["install", "faces", "tensors"])
    parser.add_argument("--data", type=pathlib.Path, default=os.environ.get("SIGHTLINE_TEST_DATA"))
    parser.add_argument("--program", default=None, help="another sightline")
    parser.add_argument("--only", nargs="*", help="these servers alone")
    parser.add_argument("--keep", type=pathlib.Path, help="a file that the rounds are kept in, and added to those of earlier runs")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--warmup", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    args.data = pathlib.Path(args.data) if args.data else None
    if args.what == "install":
        return install()
    if args.what == "faces" and not args.data:
        sys.exit("serve_compare.py: --data FOLDER with models/ and media/")
    wait_for_quiet()
    return {"faces": faces, "tensors": tensors}[args.what](args)


if __name__ == "__main__":
    sys.exit(main())
