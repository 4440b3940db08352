from pathlib import Path

from visionbus.cache import cache_folder


def test_cache_is_below_xdg_cache_home(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder("kind") == Path("/somewhere/visionbus/kind")


def test_cache_is_in_the_home_folder_by_default(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder("kind") == Path("/home/somebody/.cache/visionbus/kind")
