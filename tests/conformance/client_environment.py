"""The Python that has the clients of a file of requirements: the one that SIGHTLINE_CLIENTS_PYTHON (for KServe's
SIGHTLINE_KSERVE_PYTHON) names, or else a virtual environment of its own under the cache folder, made when it is first
needed. Without a network the tests are skipped (77)."""
import hashlib
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
INSIDE = "SIGHTLINE_CLIENTS_INSIDE"


def has_clients(python, modules):
    try:
        return subprocess.run([python, "-c", f"import {modules}"], capture_output=True).returncode == 0
    except OSError:
        return False


def make(folder, requirements):
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", "-r", str(requirements)], check=True, capture_output=True, timeout=900)
    return python


def enter(name="requirements.txt", modules="tritonclient.http, tritonclient.grpc", variable="SIGHTLINE_CLIENTS_PYTHON"):
    """Goes on in that Python, from the beginning of the script."""
    if os.environ.get(INSIDE):
        return
    requirements = HERE / name
    python = os.environ.get(variable)
    if not python:
        key = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:16]
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
        folder = cache / "sightline" / f"clients-{key}"
        python = str(folder / "bin" / "python")
        if not has_clients(python, modules):
            try:
                python = make(folder, requirements)
            except (OSError, subprocess.SubprocessError) as error:
                print(f"SKIPPED: conformance: the clients of {requirements.name} cannot be installed: {error}")
                sys.exit(77)
    if not has_clients(python, modules):
        print(f"SKIPPED: conformance: {python} cannot import {modules}")
        sys.exit(77)
    os.environ[INSIDE] = "1"
    os.execv(python, [python, *sys.argv])
