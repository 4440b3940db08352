"""What `make train` does about torch: nothing is installed here."""

import re
import sys
from types import SimpleNamespace

import install
import pytest

PINNED = re.search(r"^torch==(\S+)", install.CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE)[1]


@pytest.fixture
def venv(tmp_path, monkeypatch):
    """The packages of a .venv, in a project of its own; there are none yet."""
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(install, "ROOT", tmp_path)
    monkeypatch.setattr(install, "VENV", tmp_path / ".venv")
    packages = tmp_path / ".venv" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    packages.mkdir(parents=True)
    return packages


@pytest.fixture
def own(tmp_path):
    """The packages of the Python that runs make; there are none yet."""
    packages = tmp_path / "own"
    packages.mkdir()
    return packages


@pytest.fixture
def make_train(venv, own, monkeypatch, capsys):
    """Set up for `make train`; give what is not to be installed, and what was said before the rest would be."""
    python = SimpleNamespace(
        argv=["install.py", "train"], path=[str(own)], version=sys.version, version_info=sys.version_info
    )

    def set_up(backend=None):
        seen = []
        monkeypatch.setattr(install, "sys", python)
        monkeypatch.setattr(install, "BACKEND", backend)
        monkeypatch.setattr(install, "_make_venv", lambda: None)
        monkeypatch.setattr(install, "_run", lambda *_: None)
        monkeypatch.setattr(install, "_install", lambda *given: seen.append((given[1], capsys.readouterr().out)))
        install.main()
        return seen[0]

    return set_up


def put_torch(packages, version):
    folder = packages / f"torch-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")


@pytest.mark.parametrize(
    ("version", "left_out"),
    [
        (PINNED, ("torch",)),
        (f"{PINNED}+cpu", ("torch",)),
        ("2.7.0", ("torch", "torchvision", "timm")),  # the other two go with the pinned one
    ],
)
def test_torch_that_is_there_is_used(make_train, venv, own, version, left_out):
    put_torch(own, version)
    without, said = make_train()
    assert without == left_out
    assert said.endswith(f"\nthe torch {version} in {own} is used\n")
    assert (venv / "torch-of-ones-own.pth").read_text() == f"{own}\n"


def test_torch_in_the_venv_goes_before_any_other(make_train, venv, own):
    put_torch(venv, PINNED)
    put_torch(own, "2.7.0")
    without, said = make_train()
    assert without == ("torch",)
    assert f"the torch {PINNED} in {venv} is used" in said
    assert not (venv / "torch-of-ones-own.pth").exists()


@pytest.mark.parametrize("version", [None, "2.6.1"])
def test_size_of_the_download_is_said_first_where_no_torch_does(make_train, venv, own, version):
    if version:
        put_torch(own, version)
    without, said = make_train()
    assert without == ()
    assert said.endswith(f"\ntorch comes with it: {install.SIZE}\n")
    assert " GB to download" in said
    assert list(venv.iterdir()) == []


def test_torch_of_another_python_than_the_venvs_is_not_used(make_train, venv, own):
    venv.parent.rename(venv.parent.with_name("python3.0"))
    put_torch(own, PINNED)
    assert make_train()[0] == ()


def test_torch_that_is_asked_for_is_named(make_train):
    _, said = make_train("cpu")
    assert "that of pytorch.org which UV_TORCH_BACKEND=cpu names" in said


def test_where_uv_fails_pip_does_not_take_another_torch_than_was_asked_for(venv, monkeypatch):
    monkeypatch.setattr(install, "BACKEND", "cpu")
    monkeypatch.setattr(install, "_run", lambda *_: None)
    monkeypatch.setattr(install.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1))
    with pytest.raises(
        SystemExit, match=r"pip knows no UV_TORCH_BACKEND: .* leave it out; torch comes with it then: on"
    ):
        install._install("train")
