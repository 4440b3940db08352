"""What the docs and the help texts tell people to type exists."""

import re
import shlex
from pathlib import Path

import click
import pytest

from visionbus.cli.group import visionbus as command_line

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def code(page):
    """Give each line of the page's shell blocks, and what stands in backticks."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```(?:sh|console)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from block.splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def words(line):
    """Take a command line apart, up to a comment, a redirection or a pipe."""
    line = re.split(r"\s{2,}|\s#|\s[<>|]\s", line.strip().removeprefix("$ "))[0]
    return shlex.split(line.replace("...", ""))


def check(arguments):
    """Let click parse a command line, without running it or looking at files; raise `click.UsageError`."""
    command, context = command_line, click.Context(command_line, info_name="visionbus")
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        name, *arguments = arguments
        found = command.get_command(context, name)
        assert found, f"there is no command {name!r}"
        command, context = found, click.Context(found, parent=context, info_name=name)
    values, rest, _ = command.make_parser(context).parse_args(list(arguments))
    needed = [values.get(one.name) for one in command.params if one.required]
    missing = [value for value in needed if not (value and isinstance(value, str | tuple))]
    assert not rest
    assert not arguments or not missing or "--help" in arguments


def commands_of(page):
    for line in code(page):
        found = re.match(r"(?:\$ )?(?:\.venv/bin/)?visionbus (.+)", line.strip())
        if found and not found[1].startswith(("(", "COMMAND")):
            yield words(found[1])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_the_page_parse(page):
    for arguments in commands_of(page):
        check(arguments)


def test_pages_show_commands():
    assert sum(len(list(commands_of(page))) for page in PAGES) > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_of_the_page_exist(page):
    named = {
        found[1] for line in code(page) if (found := re.match(r"make ([a-z-]+)(\s+[A-Z]+=.*)?(\s+#.*)?$", line.strip()))
    }
    assert named <= TARGETS


def all_commands(group=command_line, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from all_commands(command, (*path, name))


@pytest.mark.parametrize(
    ("path", "command"), list(all_commands()), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_examples_in_the_help_text_parse(path, command):
    examples = [line.strip() for line in (command.help or "").splitlines() if line.strip().startswith("visionbus ")]
    assert examples
    for line in examples:
        check(words(line.removeprefix("visionbus ")))
        assert line.split()[1 : 1 + len(path)] == list(path) or isinstance(command, click.Group)


def test_wrong_commands_are_found():
    for line in (
        "worker --nonsense",
        "bus receive topic",
        "nonsense",
        "bus send x --count 3 --lines",
        "predict --model x y",
    ):
        with pytest.raises((click.UsageError, AssertionError)):
            check(shlex.split(line))
