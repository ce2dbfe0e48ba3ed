"""What a user gets: the client installed alone, and the server installed by the very steps of deploy/Dockerfile."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
PREFIX, SOURCES = "/opt/seqserve", "/src"  # where the Dockerfile puts the environment, and where it builds
READY = re.compile(r"seqserve ready on (\S+)")

# Installing takes a minute where pip's cache is empty.
pytestmark = pytest.mark.timeout(900)


class Instruction(NamedTuple):
    """One instruction of a Dockerfile, its continued lines joined."""

    name: str
    text: str


def stages(text: str) -> dict[str, list[Instruction]]:
    """The stages of a Dockerfile by name, each beginning with its FROM."""
    found: dict[str, list[Instruction]] = {}
    lines = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    for line in filter(str.strip, lines):
        instruction = Instruction(*line.split(maxsplit=1))
        if instruction.name == "FROM":
            found[instruction.text.split()[-1]] = []
        if found:
            list(found.values())[-1].append(instruction)
    return found


def lineage(found: Mapping[str, list[Instruction]], stage: str) -> list[Instruction]:
    """The instructions of a stage, after those of the stages it is built from."""
    base = found[stage][0].text.split()[0]
    return [*(lineage(found, base) if base in found else []), *found[stage]]


def command(stage: str, name: str) -> list[str]:
    """The command of an ENTRYPOINT or HEALTHCHECK."""
    (text,) = [i.text for i in stages(DOCKERFILE.read_text(encoding="utf-8"))[stage] if i.name == name]
    parts: list[str] = json.loads(text[text.index("[") :])
    return parts


@dataclass(frozen=True)
class Environment:
    """A virtual environment and what it may see."""

    folder: Path

    def run(self, *words: str, may_fail: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment, away from the sources."""
        done = subprocess.run(
            [self.folder / "bin" / words[0], *words[1:]],
            cwd=self.folder,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert may_fail or done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
        return done

    def installed(self) -> set[str]:
        """Names of the installed distributions."""
        listing = "import importlib.metadata as m; print(*(d.name.lower() for d in m.distributions()), sep='\\n')"
        return set(self.run("python", "-c", listing).stdout.split())

    def import_all(self, package: str) -> None:
        """Import every module of a package, with warnings as errors."""
        walk = (
            f"import importlib, pkgutil, {package} as p\n"
            "for m in pkgutil.walk_packages(p.__path__, p.__name__ + '.'):\n"
            "    m.name.endswith('__main__') or importlib.import_module(m.name)"
        )
        self.run("python", "-W", "error", "-c", walk)


def clean_environment(**more: str) -> dict[str, str]:
    """This process's environment without what would let other packages in."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "SEQSERVE_"))}
    return kept | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"} | more


def copy_sources(target: Path, names: list[str]) -> None:
    """Copy files and folders of the checkout, as a build context holds them."""
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in names:
        assert f"!{name}" in allowed, f".dockerignore keeps {name} from the build"
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target / name)


def build(stage: str, folder: Path) -> Environment:
    """Carry out a stage of the Dockerfile in a folder: its copies, its variables and its commands."""
    prefix, sources, programs = folder / "seqserve", folder / "src", folder / "programs"
    sources.mkdir(parents=True)
    programs.mkdir()
    (programs / "python").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    variables = clean_environment(PATH=f"{programs}:{os.environ['PATH']}", PIP_NO_COMPILE="1")
    for name, text in lineage(stages(DOCKERFILE.read_text(encoding="utf-8")), stage):
        here = text.replace(PREFIX, str(prefix)).replace(SOURCES, str(sources))
        if name in {"ENV", "ARG"}:
            variables |= dict(pair.split("=", 1) for pair in here.split())
            variables.pop("PIP_NO_CACHE_DIR", None)  # an image wants no cache, a test does
        elif name == "COPY":
            copy_sources(sources, here.split()[:-1])
        elif name == "RUN":
            done = subprocess.run(
                ["/bin/sh", "-ec", here], cwd=sources, env=variables, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"RUN {here}\n{done.stdout}{done.stderr}"
    return Environment(prefix)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Server and client, as the image has them."""
    return build("server-build", tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The client, and nothing that it does not ask for."""
    folder = tmp_path_factory.mktemp("client")
    copy_sources(folder, ["pyproject.toml", "README.md", "LICENSE", "proto", "client", "server", "training"])
    subprocess.run([sys.executable, "-m", "venv", folder / "environment"], check=True)
    environment = Environment(folder / "environment")
    constraints = str(ROOT / "constraints.txt")
    words = ["--quiet", "--no-compile", "--constraint", constraints, str(folder)]
    environment.run("python", "-m", "pip", "install", *words)
    return environment


def test_client_alone_works(client: Environment) -> None:
    client.import_all("seqserve.client")
    assert "usage: seqserve" in client.run("seqserve", "--help").stdout
    assert "usage: seqserve" in client.run("python", "-m", "seqserve.client", "--help").stdout


def test_client_alone_brings_nothing_heavy(client: Environment) -> None:
    assert not client.installed() & {"numpy", "onnx", "onnxruntime", "pydantic", "redis", "tokenizers", "torch"}


def test_server_and_client_work_without_torch(server: Environment) -> None:
    assert not server.installed() & {"onnx", "torch"}
    server.import_all("seqserve.server")
    server.import_all("seqserve.client")
    assert "usage: seqserve-server" in server.run("seqserve-server", "--help").stdout
    assert "usage: seqserve" in server.run("python", "-m", "seqserve.server", "--help").stdout


def test_server_loads_redis_only_for_its_store(server: Environment) -> None:
    program = (
        "import sys, seqserve.server.__main__; print('redis' in sys.modules, 'seqserve.server.app' in sys.modules)"
    )
    assert server.run("python", "-c", program).stdout == "False True\n"


def test_image_of_the_server_serves_and_tells_its_health(server: Environment) -> None:
    placed = {"/models": str(ROOT / "models"), "0.0.0.0:50051": "127.0.0.1:0"}
    program, *words = [placed.get(word, word) for word in command("server", "ENTRYPOINT")]
    health = command("server", "HEALTHCHECK")
    with subprocess.Popen(
        [server.folder / "bin" / program, *words], env=clean_environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            ready = READY.match(process.stdout.readline())
            assert ready is not None
            health = [ready[1] if word == "127.0.0.1:50051" else word for word in health]
            server.run(*health)
        finally:
            process.terminate()
    assert process.returncode == 0
    assert server.run(*health, may_fail=True).returncode != 0


def test_image_of_training_starts_its_program() -> None:
    assert command("training", "ENTRYPOINT") == ["seqserve-train"]


def test_stages_join_continued_lines_and_follow_their_bases() -> None:
    found = stages("ARG X=1\nFROM a AS one\nRUN x && \\\n    y\n# no\nFROM one AS two\nRUN z\n")
    assert [i.text.split() for i in lineage(found, "two") if i.name == "RUN"] == [["x", "&&", "y"], ["z"]]
