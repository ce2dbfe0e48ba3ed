"""The compose files are what docker-compose understands, and hold what they promise."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CUDA = "deploy/docker-compose.cuda.yml"
REPLICAS = "deploy/docker-compose.replicas.yml"


def services(file: str = "docker-compose.yml") -> dict[str, Any]:
    loaded: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
    return loaded["services"]


def seconds(duration: str) -> float:
    """Of a duration such as 1m30s."""
    parts = re.findall(r"([\d.]+)([smh])", duration)
    return sum(float(number) * {"s": 1, "m": 60, "h": 3600}[unit] for number, unit in parts)


@pytest.mark.parametrize("profile", [[], ["--profile", "training"]], ids=["server", "training"])
@pytest.mark.parametrize(
    "files",
    [["docker-compose.yml"], ["docker-compose.yml", CUDA], ["docker-compose.yml", REPLICAS]],
    ids=["cpu", "cuda", "replicas"],
)
def test_docker_compose_understands_the_files(files: list[str], profile: list[str]) -> None:
    if (program := shutil.which("docker-compose")) is None:
        if os.environ.get("CI"):
            pytest.fail("docker-compose is not installed, and CI has to check the compose files")
        pytest.skip("docker-compose is not installed")
    chosen = [part for file in files for part in ("--file", file)]
    done = subprocess.run(
        [program, *chosen, *profile, "config", "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["server", "training"])
def test_services_are_confined(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "pids_limit", "tmpfs"} <= service.keys()


def test_server_reads_its_models_and_answers_this_machine_only() -> None:
    server = services()["server"]
    assert server["volumes"] == ["./models:/models:ro", "sessions:/sessions"]
    assert server["ports"] == ["${SEQSERVE_PUBLISH:-127.0.0.1:50051}:50051"]


def test_server_gets_more_time_to_stop_than_it_takes_to_drain() -> None:
    server = services()["server"]
    assert seconds(server["stop_grace_period"]) > float(server["environment"]["SEQSERVE_DRAIN_S"])


def test_sessions_outlive_the_container() -> None:
    server = services()["server"]
    assert server["environment"]["SEQSERVE_SESSIONS__PATH"].startswith("/sessions/")
    assert "mkdir --mode=1777 /sessions" in (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")


def test_replicas_share_one_redis_behind_the_proxy_that_the_benchmark_runs() -> None:
    over = services(REPLICAS)
    replicas = [name for name in over if name.startswith("replica-")]
    assert len(replicas) == 3
    for name in replicas:
        assert over[name]["environment"]["SEQSERVE_SESSIONS__REDIS"] == "redis://redis:6379"
    named = [value.partition(":")[0] for key, value in over["proxy"]["environment"].items() if "REPLICA" in key]
    assert named == replicas
    assert over["proxy"]["volumes"] == ["./deploy/haproxy.cfg:/usr/local/etc/haproxy/haproxy.cfg:ro"]


def test_training_waits_to_be_asked() -> None:
    assert services()["training"]["profiles"] == ["training"]
    assert "profiles" not in services()["server"]


def test_cuda_changes_what_is_there_and_asks_for_a_gpu() -> None:
    over = services(CUDA)
    assert over.keys() == services().keys()
    for service in over.values():
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert device["capabilities"] == ["gpu"]


def test_cuda_runs_the_same_version_of_onnxruntime() -> None:
    gpu = services(CUDA)["server"]["build"]["args"]["ONNXRUNTIME_GPU"]
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert f"onnxruntime=={gpu.rpartition('==')[2]}" in constraints
