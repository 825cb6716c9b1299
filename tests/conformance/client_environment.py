"""The Python that has the clients of requirements.txt: the one that SIGHTLINE_CLIENTS_PYTHON names, or else a virtual
environment of its own under the cache folder, made when it is first needed. Without a network the tests are skipped (77)."""
import hashlib
import os
import pathlib
import subprocess
import sys

REQUIREMENTS = pathlib.Path(__file__).resolve().parent / "requirements.txt"
INSIDE = "SIGHTLINE_CLIENTS_INSIDE"


def has_clients(python):
    try:
        return subprocess.run([python, "-c", "import tritonclient.http, tritonclient.grpc"], capture_output=True).returncode == 0
    except OSError:
        return False


def make(folder):
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", "-r", str(REQUIREMENTS)], check=True, capture_output=True, timeout=900)
    return python


def enter():
    """Goes on in that Python, from the beginning of the script."""
    if os.environ.get(INSIDE):
        return
    python = os.environ.get("SIGHTLINE_CLIENTS_PYTHON")
    if not python:
        key = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:16]
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
        folder = cache / "sightline" / f"clients-{key}"
        python = str(folder / "bin" / "python")
        if not has_clients(python):
            try:
                python = make(folder)
            except (OSError, subprocess.SubprocessError) as error:
                print(f"SKIPPED: conformance: the clients of {REQUIREMENTS.name} cannot be installed: {error}")
                sys.exit(77)
    if not has_clients(python):
        print(f"SKIPPED: conformance: {python} cannot import tritonclient")
        sys.exit(77)
    os.environ[INSIDE] = "1"
    os.execv(python, [python, *sys.argv])
