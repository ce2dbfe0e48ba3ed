"""Runs the load generator in a separate process."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

from benchmarks.loadgen.load import Load
from benchmarks.loadgen.recording import Json


def run_load(load: Load) -> Json:
    """Runs a load in a separate process.

    Returns:
        The measurements, as `load.run` returns them.

    Raises:
        subprocess.CalledProcessError: The load generator failed.
    """
    options = {name.replace("_", "-"): value for name, value in asdict(load).items() if value is not None}
    flags = [f"--{name}={value}" for name, value in options.items() if name not in ("mode", "fill", "in-sessions")]
    flags += ["--fill"] * load.fill + ["--in-sessions"] * load.in_sessions
    command = [sys.executable, "-m", "benchmarks", "load", load.mode, *flags]
    process = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: Json = json.loads(process.stdout)
    return result
