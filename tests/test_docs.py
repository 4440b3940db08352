"""Documentation runs: each page's Python blocks, in order, in an empty folder; every public name is in its page."""

import importlib
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from visionbus.messaging.conformance import CLAIMS
from visionbus.vision import DatasetError
from visionbus.vision.datasets import fashion_mnist

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\w[^\n]*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
PACKAGES = {  # package -> the page that describes its public names
    "visionbus.messaging": "messaging.md",
    "visionbus.service": "service.md",
    "visionbus.service.stores": "service.md",
    "visionbus.training": "training.md",
    "visionbus.vision": "vision.md",
    "visionbus.vision.datasets": "data.md",
    "visionbus.vision.images": "vision.md",
    "visionbus.vision.report": "report.md",
}
NOT_FOR_USERS = (
    "visionbus.cli",
    "visionbus.messaging.conformance",
    "visionbus.messaging.drivers",
    "visionbus.training.networks",
)
RUNNER = """
import json, sys
page, blocks = json.load(sys.stdin)
names = {"__name__": "page"}
for line, block in blocks:
    exec(compile("\\n" * line + block, page, "exec"), names)
"""


def blocks(page):
    """Yield each Python block with the number of lines before it; blocks indented in a list count, too."""
    text = page.read_text(encoding="utf-8")
    for fence in FENCE.finditer(text):
        indent, kind, block = fence.groups()
        if kind.split()[0] in ("python", "py", "python3"):
            assert kind == "python", f"{page.name}: a block is marked {kind!r}; all Python in the docs is to run"
            lines = block.splitlines(keepends=True)
            yield text[: fence.start(3)].count("\n"), "".join(line.removeprefix(indent) for line in lines)


def run(page, found, folder):
    """Run Python blocks as one program, in a folder, and give what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUNNER],
        check=False,
        input=json.dumps([str(page), found]),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def skip_without_what_it_needs(source):
    """Skip where the blocks need torch or Fashion-MNIST, and it is not to be had."""
    if "visionbus.training" in source and importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed: the Python of this page is NOT run")
    if "fashion_mnist(" in source:
        try:
            fashion_mnist("test")
        except DatasetError as error:
            pytest.skip(f"Fashion-MNIST cannot be loaded: the Python of this page is NOT run ({error})")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_of_the_page_runs(page, tmp_path):
    found = list(blocks(page))
    if not found:
        pytest.skip("no Python on this page")
    program = "".join(block for _, block in found)
    skip_without_what_it_needs(program)
    printed = iter(run(page, found, tmp_path).splitlines())
    for shown in re.findall(r"# -> (.*)$", program, re.MULTILINE):
        assert shown in printed, f"{page.name} shows {shown!r}, which is not printed there"


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["sqlite", "kafka", "pubsub"])
def test_program_of_the_readme_runs_on_every_bus_with_nothing_but_the_url_changed(scheme, request, tmp_path):
    readme = ROOT / "README.md"
    line, program = next(blocks(readme))
    written = "sqlite:///bus.db"
    assert program.count(written) == program.count("://") == 1
    url = written if scheme == "sqlite" else request.getfixturevalue(scheme).url
    assert url.startswith(f"{scheme}://")
    assert run(readme, [(line, program.replace(written, url))], tmp_path) == "b'hello' 1\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_docs_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_conformance_tests_that_the_page_names_exist(page):
    assert set(re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8"))) <= CLAIMS.keys()


@pytest.mark.parametrize(("package", "page"), PACKAGES.items())
def test_public_names_are_in_the_page_of_their_package(package, page):
    if package == "visionbus.training":
        pytest.importorskip("torch")
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    public = importlib.import_module(package).__all__
    assert [name for name in public if not re.search(rf"\b{name}\b", text)] == []


def test_every_package_with_public_names_has_a_page():
    source = ROOT / "src"
    found = {
        ".".join(path.parent.relative_to(source).parts)
        for path in source.rglob("__init__.py")
        if "__all__" in path.read_text(encoding="utf-8")
    }
    assert {name for name in found if not name.startswith(NOT_FOR_USERS)} == set(PACKAGES)
