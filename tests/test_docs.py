"""Documentation runs: each page's Python blocks, in order, in an empty folder."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\w[^\n]*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
RUNNER = """
import json, sys
page, blocks = json.load(sys.stdin)
names = {"__name__": "page"}
for line, block in blocks:
    exec(compile("\\n" * line + block, page, "exec"), names)
"""


def blocks(page):
    """Give each Python block with the number of lines before it; blocks indented in a list count, too."""
    text = page.read_text(encoding="utf-8")
    for fence in FENCE.finditer(text):
        indent, kind, block = fence.groups()
        if kind.split()[0] in ("python", "py", "python3"):
            assert kind == "python", f"{page.name}: a block is marked {kind!r}; all Python in the docs is to run"
            lines = block.splitlines(keepends=True)
            yield text[: fence.start(3)].count("\n"), "".join(line.removeprefix(indent) for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_of_the_page_runs(page, tmp_path):
    found = list(blocks(page))
    if not found:
        pytest.skip("no Python on this page")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUNNER],
        check=False,
        input=json.dumps([str(page), found]),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_docs_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
