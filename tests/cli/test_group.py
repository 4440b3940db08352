import logging
import signal
import subprocess
import sys
from contextlib import suppress

import click
import pytest

from visionbus import __version__
from visionbus.cli import group
from visionbus.cli.options import MEMORY_NOTE
from visionbus.messaging import SendError, UnavailableError


@pytest.fixture
def command(monkeypatch):
    """Put a command of the test's own among the others: `visionbus trial` runs the function."""

    def put(function):
        made = click.command("trial")(group.verbose_option(function))
        monkeypatch.setattr(group.visionbus, "commands", {"trial": made})

    yield put
    logging.getLogger("visionbus").setLevel(logging.NOTSET)


def raising(error):
    def trial():
        raise error

    return trial


def test_help_names_every_command(run):
    shown = run("--help")
    assert shown.status == 0
    for name, (_, line) in group.COMMANDS.items():
        assert name in shown.out
        assert line.split()[0] in shown.out


@pytest.mark.parametrize("name", group.COMMANDS)
def test_every_command_has_help_with_examples(run, name):
    shown = run(name, "--help")
    assert shown.status == 0, shown.err
    assert "Example" in shown.out
    assert f"visionbus {name}" in shown.out


def test_help_of_the_group_imports_no_command():
    code = (
        "import sys, visionbus.cli.group as g\n"
        "try: g.main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(' '.join(m for m in ('numpy', 'torch', 'asyncio', 'rich', 'onnxruntime') if m in sys.modules))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.stderr.strip() == ""


def test_version(run):
    assert run("--version").out == f"visionbus {__version__}\n"


def test_no_command_is_wrong_usage_and_shows_help(run):
    shown = run()
    assert (shown.status, shown.out) == (2, "")
    assert "Commands:" in shown.err


def test_unknown_command_is_one_line(run):
    shown = run("nonsense")
    assert shown.status == 2
    assert shown.err == "visionbus: error: No such command 'nonsense'. (see visionbus --help)\n"


@pytest.mark.parametrize(
    ("words", "meant", "help_of"),
    [(["pedict"], "predict", "visionbus"), (["bus", "rceive"], "receive", "visionbus bus")],
)
def test_mistyped_command_is_answered_with_the_nearest(run, words, meant, help_of):
    shown = run(*words)
    assert shown.status == 2
    assert (
        shown.err
        == f"visionbus: error: No such command {words[-1]!r}: did you mean {meant!r}? (see {help_of} --help)\n"
    )


def test_mistyped_option_is_answered_with_the_nearest(run):
    assert "--processes" in run("worker", "--proceses", "2").err


def test_help_of_bus_says_what_each_command_does_in_a_whole_line(run):
    lines = run("bus", "--help").out.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == ["dead-letters", "declare", "receive", "send"]
    assert all(line.endswith(".") and not line.endswith("...") for line in lines)


def test_wrong_option_names_the_help_of_its_command(run):
    shown = run("bus", "send", "--nonsense")
    assert shown.status == 2
    assert shown.err.count("\n") == 1
    assert "(see visionbus bus send --help)" in shown.err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UnavailableError("the broker is away: try later"), "the broker is away: try later"),
        (ValueError("two\nlines"), "unexpected ValueError: two lines; please report it"),
        (
            FileNotFoundError(2, "No such file or directory", "a.png"),
            "a.png: no such file or directory: check the path",
        ),
        (OSError(28, "No space left on device"), "no space left on device: free some space, or name another folder"),
        (KeyError("x"), "unexpected KeyError: 'x'; please report it with what -v prints"),
        (ExceptionGroup("tasks", [UnavailableError("away"), UnavailableError("away")]), "away"),
    ],
)
def test_error_is_one_line_without_traceback(run, command, error, line):
    command(raising(error))
    shown = run("trial")
    assert (shown.status, shown.out) == (1, "")
    assert shown.err.startswith(f"visionbus: error: {line}")
    assert shown.err.count("\n") == 1


def test_verbose_shows_the_traceback_of_an_error(run, command):
    command(raising(KeyError("x")))
    shown = run("trial", "-v")
    assert shown.err.startswith("Traceback")
    assert run("-v", "trial").err.startswith("Traceback")


def test_each_v_says_more(run, command):
    levels = []

    def trial():
        levels.append(logging.getLogger("visionbus").level)

    command(trial)
    for words in (["trial"], ["trial", "-v"], ["-v", "trial"], ["trial", "-vv"]):
        run(*words)
    assert levels == [logging.WARNING, logging.INFO, logging.INFO, logging.DEBUG]


def test_value_error_of_our_own_code_is_expected(run):
    shown = run("bus", "declare", "images", "--bus", "nonsense://x")
    assert shown.status == 1
    assert shown.err.startswith("visionbus: error: unknown scheme 'nonsense' in the bus URL; known: ")
    assert shown.err.count("\n") == 1


def test_send_error_tells_the_first_reason(run, command):
    command(raising(SendError([(None, UnavailableError("disk full"))])))
    assert "disk full" in run("trial").err


def test_missing_extra_names_the_pip_line(run, command):
    command(raising(ModuleNotFoundError("No module named 'torch'", name="torch")))
    shown = run("trial")
    assert shown.status == 1
    assert shown.err.startswith("visionbus: error: torch is not installed: ")
    assert "-m pip install " in shown.err
    assert shown.err.rstrip().endswith(("[train]'", "[train]"))


def test_missing_module_of_nobody_is_unexpected(run, command):
    command(raising(ModuleNotFoundError("No module named 'nix'", name="nix")))
    assert "unexpected ModuleNotFoundError" in run("trial").err


@pytest.mark.slow
def test_interrupt_ends_with_status_130(visionbus, tmp_path):
    url = f"sqlite:///{tmp_path}/bus.db"
    subprocess.run([*visionbus, "bus", "declare", "images", "workers", "--bus", url], check=True, capture_output=True)
    subprocess.run([*visionbus, "bus", "send", "images", "ready", "--bus", url], check=True, capture_output=True)
    receiving = [*visionbus, "bus", "receive", "images", "workers", "--bus", url]
    with subprocess.Popen(receiving, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as receiver:
        assert receiver.stdout.readline() == "ready\n"
        receiver.send_signal(signal.SIGINT)
        _, err = receiver.communicate(timeout=20)
    assert (receiver.returncode, err) == (130, "visionbus: interrupted\n")


@pytest.mark.slow
def test_reader_that_goes_away_ends_the_command_in_silence(visionbus, tmp_path):
    url = f"sqlite:///{tmp_path}/bus.db"
    subprocess.run([*visionbus, "bus", "declare", "images", "workers", "--bus", url], check=True, capture_output=True)
    lines = "".join(f"{number}\n" for number in range(20_000))
    sending = [*visionbus, "bus", "send", "images", "--lines", "--bus", url]
    with subprocess.Popen(
        sending, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as sender:
        sender.stdout.close()
        with suppress(BrokenPipeError):  # it may be gone before it has read all
            sender.stdin.write(lines)
        with suppress(BrokenPipeError):
            sender.stdin.close()
        assert sender.stderr.read() == ""
    assert sender.returncode == 141


@pytest.mark.slow
def test_python_dash_m_is_the_command(visionbus):
    finished = subprocess.run([*visionbus, "--version"], capture_output=True, text=True, check=True)
    assert finished.stdout == f"visionbus {__version__}\n"


def test_bus_in_memory_is_noted_because_no_other_process_sees_it(visionbus):
    ended = subprocess.run(
        [*visionbus, "bus", "declare", "images", "--bus", "memory://"], capture_output=True, text=True, check=True
    )
    assert ended.stderr.splitlines()[0] == MEMORY_NOTE
