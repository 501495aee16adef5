"""What users and packagers get: the contents of both distributions, and one version everywhere."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import cyclr

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
DATA = {"fashion14.npz", "fashion14.LICENSE", "moby_dick.txt.bz2", "moby_dick.LICENSE"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both distributions."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "--directory", folder], cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def sources(built: Path) -> dict[str, bytes]:
    """The files of the source distribution."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        files = [member for member in archive.getmembers() if member.isfile()]
        return {member.name.partition("/")[2]: archive.extractfile(member).read() for member in files}


def package_files() -> set[str]:
    """Everything below src/cyclr that is no cache."""
    found = (path for path in (SRC / "cyclr").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(SRC).as_posix() for path in found}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == package_files()
    kinds = {Path(name).suffix for name in names}
    assert kinds == {".py", ".html", ".css", ".typed", ".npz", ".bz2", ".LICENSE"} | ({".js"} & kinds)
    assert {Path(name).name for name in names if "/data/" in name} == DATA, "embedded data, and no record"
    assert "cyclr/py.typed" in names


def test_the_wheel_names_its_licences_and_its_command(wheel: zipfile.ZipFile) -> None:
    beside = {name.partition(".dist-info/")[2] for name in wheel.namelist()}
    assert {"licenses/LICENSE", "licenses/src/cyclr/tasks/data/fashion14.LICENSE"} <= beside
    (entry,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert b"cyclr = cyclr._cli:main" in wheel.read(entry)


def test_the_source_distribution_holds_what_test_core_runs_and_no_records(sources: dict[str, bytes]) -> None:
    assert {name.removeprefix("src/") for name in sources if name.startswith("src/")} == package_files()
    makefile = sources["Makefile"].decode()
    core = re.search(r"^CORE := (.*)$", makefile, re.MULTILINE)[1].split()
    tests = re.search(r"^test-core:.*\n.*pytest .*?(?= tests/)(.*) \$\(CORE", makefile, re.MULTILINE)[1].split()
    for needed in ["conftest.py", "constraints.txt", "README.md", *tests, *(f"src/cyclr/{room}" for room in core)]:
        assert any(name == needed or name.startswith(f"{needed}/") for name in sources), needed
    roots = {name.split("/")[0] for name in sources}
    assert not roots & {"bench", "docs", "experiments", "scripts", ".github", "dist", "cyclr-demo"}
    outside = {name for name in sources if not name.startswith("src/")}
    assert {name for name in outside if Path(name).suffix in (".json", ".jsonl", ".png", ".npz")} == set()


def test_the_tests_of_the_source_distribution_import_only_one_another(sources: dict[str, bytes]) -> None:
    needed = set()
    for name, text in sources.items():
        if name.startswith("tests/"):
            needed |= set(re.findall(r"^\s*(?:from|import) (tests(?:\.\w+)+)", text.decode(), re.MULTILINE))
    assert needed
    for module in needed:
        path = module.replace(".", "/")
        assert f"{path}.py" in sources or any(name.startswith(f"{path}/") for name in sources), module


def test_there_is_one_version(wheel: zipfile.ZipFile) -> None:
    (metadata,) = [name for name in wheel.namelist() if name.endswith("METADATA")]
    said = email.message_from_bytes(wheel.read(metadata))
    assert said["Version"] == cyclr.__version__
    assert f"\nversion: {cyclr.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert newest == cyclr.__version__


def test_every_version_of_python_that_is_named_is_tested(wheel: zipfile.ZipFile) -> None:
    yaml = pytest.importorskip("yaml")
    (metadata,) = [name for name in wheel.namelist() if name.endswith("METADATA")]
    said = email.message_from_bytes(wheel.read(metadata))
    named = {line.split()[-1] for line in said.get_all("Classifier") if re.search(r"Python :: 3\.\d+$", line)}
    jobs = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]
    assert named
    assert named <= set(jobs["core"]["strategy"]["matrix"]["python"])


def test_a_wheel_installs_and_runs_by_itself(built: Path, tmp_path: Path) -> None:
    (path,) = built.glob("*.whl")
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", target, path]
    subprocess.run(install, check=True)
    code = "import cyclr, cyclr._cli as shell; print(cyclr.__file__); shell.main('plan --bounds 1 2 --steps 9'.split())"
    environment = {"PYTHONPATH": str(target), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(target))
    assert "Plan for 9 steps" in done.stdout
