"""Describes where a measurement ran: the machine and the versions of the software."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from benchmarks.loadgen.recording import Json

PACKAGES = ("grpcio", "numpy", "onnxruntime", "protobuf", "tokenizers")


def machine() -> Json:
    """Returns processor, cores and system."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    named = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = named.get("flags", "").split()
    return {
        "cpu": named.get("model name", platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "features": [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8") if flag in flags],
        "load_average": os.getloadavg()[0],
        "system": platform.platform(),
    }


def versions() -> dict[str, str]:
    """Returns the versions of Python, of the packages that matter for speed, and of this repository."""
    result = {package: version(package) for package in PACKAGES}
    git = shutil.which("git")
    if git is not None:
        commit = subprocess.run([git, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
        result["commit"] = commit.stdout.strip()
    return result | {"python": platform.python_version()}
