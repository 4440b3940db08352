"""What the docs and the help texts tell people to type exists."""

import re
import shlex
from pathlib import Path

import click
import pytest

from visionbus.cli.group import visionbus as command_line

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^([a-z-]+):.*\n((?:\t.*\n)*)", MAKEFILE, re.MULTILINE))  # by target
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
OTHER_PROGRAMS = ("kafka-topics ", "uv ")  # which have options of their own


def code(page):
    """Give each line of the page's shell blocks, and what stands in backticks."""
    text = page.read_text(encoding="utf-8")
    for kind, block in FENCE.findall(text):
        if kind in ("", "sh", "console"):
            yield from block.splitlines()
    yield from spans(text)


def spans(text):
    """Give what stands in backticks, where it goes on over the end of a line, too."""
    return [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", FENCE.sub("", text))]


def words(line):
    """Take a command line apart, up to a comment, a redirection or a pipe."""
    line = re.split(r"\s{2,}|\s#|\s2?[<>|]\s", line.strip().removeprefix("$ "))[0]
    return shlex.split(line.replace("...", ""))


def check(arguments):
    """Let click parse a command line and its values, without running it or looking at files.

    Raise `click.UsageError` or `AssertionError` if it is wrong.
    """
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
    for one in command.params:
        if isinstance(values.get(one.name), str | tuple) and not isinstance(one.type, click.Path):
            one.type_cast_value(context, values[one.name])


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


def check_make(arguments):
    """Find the targets in the Makefile, and in the recipe of one of them each variable that is given a value."""
    given = dict(word.split("=", 1) for word in arguments if "=" in word)
    targets = [word for word in arguments if "=" not in word]
    assert set(targets) <= RECIPES.keys()
    used = re.findall(r"\$\((\w+)", "".join(RECIPES[target] for target in targets))
    assert given.keys() <= {"PYTHON", *used}


def make_lines(page):
    """Give what comes after `make`, with or without variables of the environment before it."""
    for line in code(page):
        if found := re.match(r"(?:\$ )?(?:[A-Z_]+=\S* )*make\b(.*)", line.strip()):
            yield words(found[1].strip())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_and_variables_of_the_page_exist(page):
    for arguments in make_lines(page):
        check_make(arguments)


def test_make_lines_are_found_in_prose():
    found = [line for page in PAGES for line in make_lines(page)]
    assert ["train", "DATA=/home/me/my photos"] in found
    assert ["PYTHON=/path/to/python3", "check"] in found
    assert ["train", "DATA=~/photos"] in found  # behind UV_TORCH_BACKEND=cpu


@pytest.mark.parametrize("line", ["nonsense", "train DTA=photos", "serve OUT=model.onnx", "train DATA=x nonsense"])
def test_wrong_make_lines_are_found(line):
    with pytest.raises(AssertionError):
        check_make(words(line))


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


def options_of(command):
    return {"--help", *(word for one in command.params for word in (*one.opts, *one.secondary_opts))}


OPTIONS = {" ".join(path): options_of(command) for path, command in all_commands()}
ALL_OPTIONS = options_of(command_line).union(*OPTIONS.values())


def options_of_scripts(text):
    """Give the options of those benchmarks and loads of the tests that the text names."""
    named = [ROOT / name for name in re.findall(r"(?:benchmarks|tests)/[\w/]+\.py", text)]
    if "make bench-training" in text:
        named.append(ROOT / "benchmarks" / "training" / "__main__.py")
    sources = [path.read_text(encoding="utf-8") for path in named]
    return {option for source in sources for option in re.findall(r'add_argument\("(--[a-z-]+)"', source)}


def unknown_options(text):
    """Give the options in backticks that nothing has, or not the command that they stand behind."""
    known = ALL_OPTIONS | options_of_scripts(text)
    for span in spans(text):
        if not span.startswith(OTHER_PROGRAMS):
            said = span.removeprefix("visionbus ")
            has = next((OPTIONS[name] for name in sorted(OPTIONS, reverse=True) if said.startswith(f"{name} ")), known)
            yield from set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", said)) - has


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_in_the_prose_of_the_page_exist(page):
    if page.name == "CHANGELOG.md":
        pytest.skip("what it tells of may be gone")
    assert list(unknown_options(page.read_text(encoding="utf-8"))) == []


def test_wrong_options_are_found():
    text = "`--nonsense 3` as in `send --count`, `bus send\n--peek` or `--trips`; not `--seed` and `bus receive --peek`"
    assert sorted(unknown_options(text)) == ["--count", "--nonsense", "--peek", "--trips"]
    assert sorted(unknown_options(f"{text} `benchmarks/pubsub_latency.py`")) == ["--count", "--nonsense", "--peek"]
    assert sorted(unknown_options("`tests/messaging/drivers/kafka/faults/storm.py`: `--never-ask`, `--always`")) == [
        "--always"
    ]


def test_wrong_commands_are_found():
    for line in (
        "worker --nonsense",
        "bus receive topic",
        "nonsense",
        "bus send x --count 3 --lines",
        "predict --model x y",
        "train photos -o x.onnx --augment nonsense",
        "train photos -o x.onnx --allow-broken 30",
    ):
        with pytest.raises((click.UsageError, AssertionError)):
            check(shlex.split(line))
