import asyncio
import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from rich.console import Console

from visionbus.cli.demo import gallery, place, report, system
from visionbus.cli.demo import run as running_demo
from visionbus.cli.demo.progress import Counts
from visionbus.cli.demo.run import Options
from visionbus.cli.demo.subject import Subject, classify, own_images
from visionbus.cli.demo.verdict import Row, Verdict, count_rows, judge, latencies, read_rows
from visionbus.cli.errors import Failure
from visionbus.service.images import Requests
from visionbus.service.supervisor import cores
from visionbus.vision.onnx import OnnxModel, default_model

TRUTH = {"r/0": "Bag", "r/1": "Coat", "r/2": "Shirt"}
VERDICT = re.compile(r"sent (\d+) stored (\d+) lost 0 duplicates 0 wrong 0 accuracy (0\.\d{4}|1\.0000)")


def row(name, label, published=1.0, stored=2.0):
    return Row(name, label, 0.9, published, stored)


def all_rows():
    return [row(name, label) for name, label in TRUTH.items()]


def test_verdict_of_a_whole_run_holds():
    verdict = judge(TRUTH, all_rows(), TRUTH, TRUTH)
    assert str(verdict) == "sent 3 stored 3 lost 0 duplicates 0 wrong 0 accuracy 1.0000"
    assert verdict.holds


@pytest.mark.parametrize(
    ("rows", "amiss"),
    [
        (all_rows()[1:], {"stored": 2, "lost": 1}),
        ([*all_rows(), row("r/0", "Bag")], {"duplicates": 1}),
        ([*all_rows()[1:], row("r/0", "Coat")], {"wrong": 1}),
        ([*all_rows()[1:], row("r/0", None)], {"wrong": 1}),
    ],
)
def test_each_fault_is_counted_and_breaks_the_verdict(rows, amiss):
    verdict = judge(TRUTH, rows, TRUTH, TRUTH)
    counts = {name: getattr(verdict, name) for name in ("stored", "lost", "duplicates", "wrong")}
    assert counts == {"stored": 3, "lost": 0, "duplicates": 0, "wrong": 0} | amiss
    assert not verdict.holds


def test_stored_but_never_confirmed_is_neither_lost_nor_a_duplicate():
    assert judge(["r/0", "r/1"], all_rows(), TRUTH, TRUTH) == Verdict(2, 2, 0, 0, 0, 1.0)


def test_id_that_was_confirmed_twice_is_sent_once():
    assert judge(["r/0", "r/0"], [row("r/0", "Bag")], TRUTH, TRUTH).sent == 1


def test_nothing_sent_is_no_success():
    assert not judge([], [], TRUTH, TRUTH).holds


def test_accuracy_is_against_the_true_labels():
    offline = TRUTH | {"r/2": "Dress"}
    rows = [*all_rows()[:2], row("r/2", "Dress")]
    assert str(judge(TRUTH, rows, offline, TRUTH)) == "sent 3 stored 3 lost 0 duplicates 0 wrong 0 accuracy 0.6667"


def test_accuracy_far_from_the_card_is_a_complaint():
    whole = report.Report(Verdict(10, 10, 0, 0, 0, 0.93), 1, 1, 1, 1, 1, 0, 0.9303, 0, (), None, ())
    assert whole.holds
    assert "0.9330" in replace(whole, card_accuracy=0.933).complaint
    assert replace(whole, card_accuracy=None).holds


def test_accuracy_is_of_images_whose_class_is_known():
    assert judge(TRUTH, all_rows(), TRUTH, {"r/0": "Coat", "r/1": "Coat"}).accuracy == 0.5
    verdict = judge(TRUTH, all_rows(), TRUTH, {})
    assert verdict.holds
    assert str(verdict) == "sent 3 stored 3 lost 0 duplicates 0 wrong 0"


def test_class_of_an_image_is_its_folder_where_the_model_knows_it(images):
    (images / "Bag" / "deeper").mkdir()
    (images / "Bag" / "deeper" / "2.png").touch()
    found = own_images((str(images),), ("Bag", "Coat"), "raw")
    assert dict(zip(found.items, found.truth, strict=True)) == {
        str(images / "Ankle boot" / "0.png"): None,
        str(images / "Ankle boot" / "1.png"): None,
        str(images / "Bag" / "0.png"): "Bag",
        str(images / "Bag" / "1.png"): "Bag",
        str(images / "Bag" / "deeper" / "2.png"): None,
    }


def test_no_images_is_an_error_with_the_cure(tmp_path):
    with pytest.raises(Failure, match=f"no images are found in {tmp_path}: name image files"):
        own_images((str(tmp_path),), (), "raw")


def test_model_of_other_classes_asks_for_images_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setattr(running_demo, "FASHION_CLASSES", ("cat", "dog"))
    options = Options(model=default_model())
    with pytest.raises(Failure, match="name images of your own"):
        running_demo._subject(options, HERE, OnnxModel(default_model()), running_demo.Screen(as_json=True))


def test_images_that_are_left_out_or_cannot_be_read_have_no_label_offline(images):
    (images / "Bag" / "0.png").write_bytes(b"no image")
    (images / "Bag" / "1.png").write_bytes(bytes(5000))
    subject = own_images((str(images),), (), "raw")
    offline = classify(subject, Requests("r", 4000), OnnxModel(default_model()))
    assert sorted(offline.places.values()) == [0, 1, 2]  # the last one is too large to be sent
    assert [label is None for label in offline.labels.values()] == [False, False, True]


def test_pictures_of_images_in_several_folders_have_their_paths(images):
    model, requests = OnnxModel(default_model()), Requests("r", 100_000)
    subject = own_images((str(images),), model.classes, "raw")
    offline = classify(subject, requests, model)
    rows = [row(name, label) for name, label in offline.labels.items()]
    seen = SimpleNamespace(rows=rows, system=SimpleNamespace(subject=subject))
    names = [one.name for one in report.pictures(seen, offline, requests, model.input)]
    assert sorted(names) == sorted(subject.items)


def test_latencies_are_median_and_99th_percentile():
    median, late = latencies([row(str(n), "Bag", published=0.0, stored=float(n)) for n in range(101)])
    assert (median, late) == (50.0, 99.0)


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "with space.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table results (id, label, probability, published, stored)")
        connection.executemany(
            "insert into results values (?, 'Bag', 0.9, 1.0, 2.0)", [("r/0",), ("r/1",), ("r0/0",), ("q/9",), ("r-/1",)]
        )
        connection.commit()
    return path


def test_only_the_rows_of_the_run_count(results):
    assert count_rows(results, "r") == 2
    assert {one.id for one in read_rows(results, "r")} == {"r/0", "r/1"}


def test_no_table_is_no_rows(tmp_path):
    assert count_rows(tmp_path / "none.db", "r") == 0


@pytest.mark.parametrize("sqlite3_there", [True, False])
def test_command_to_look_at_the_rows_works(results, monkeypatch, sqlite3_there):
    monkeypatch.setattr(report.shutil, "which", lambda _: sqlite3_there)
    command = report.look_command(str(results))
    if sqlite3_there:
        monkeypatch.undo()
        if not report.shutil.which("sqlite3"):
            pytest.skip("there is no sqlite3 command on this machine: the line for it cannot be tried")
    shown = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert "r/0" in shown.stdout
    assert len(shown.stdout.splitlines()) == 5


def pictures(count):
    pixels = np.arange(28 * 28, dtype=np.uint32).reshape(28, 28, 1).astype(np.uint8)
    return [gallery.Picture(str(n), pixels, "T-shirt/top", 0.987, "Ankle boot") for n in range(count)]


@pytest.mark.parametrize("width", [20, 60, 80, 100, 200])
def test_pictures_fit_the_terminal(width):
    out = drawn(pictures(10), width)
    assert max(map(len, out)) <= width
    assert sum("99% T-shirt/top" in line for line in out) == max(2, -(-10 // max(1, width // 16)))


def test_pictures_in_colour_of_any_size_are_drawn_small():
    photo = replace(pictures(1)[0], pixels=np.zeros((65, 97, 3), np.uint8), true=None)
    lines = drawn([photo], 80)
    assert lines[0].startswith("▀" * 13)
    assert 5 < len(lines) < 12
    assert not any("✓" in line or "✗" in line for line in lines)


def drawn(pictures, width):
    out = StringIO()
    console = Console(file=out, force_terminal=True, color_system="truecolor", width=width, _environ={})
    monkey = type("Utf8", (Console,), {"encoding": "utf-8"})
    console.__class__ = monkey
    gallery.show(pictures, console)
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines()[1:]


def test_pictures_off_a_terminal_are_a_line_each(capsys):
    gallery.show(pictures(2), Console(file=StringIO()))
    assert capsys.readouterr().out.splitlines() == [
        "image 0 predicted T-shirt/top 0.99 true Ankle boot",
        "image 1 predicted T-shirt/top 0.99 true Ankle boot",
    ]
    gallery.show([replace(pictures(1)[0], name="a\nb", true=None)], Console(file=StringIO()))
    assert capsys.readouterr().out == "image a b predicted T-shirt/top 0.99\n"


@pytest.mark.skipif(not report.shutil.which("sqlite3"), reason="there is no sqlite3 command on this machine")
def test_line_with_the_command_fits_a_terminal():
    assert len(f"rows {report.look_command(str(place.FOLDER / 'results-99.db'))}") < 80


@pytest.fixture
def given(monkeypatch):
    """What the command hands to the demo, which does not run."""
    seen = []
    monkeypatch.setattr(running_demo, "run", seen.append)
    return seen


def test_each_option_is_heeded(run, given, tmp_path, monkeypatch):
    monkeypatch.delenv("VISIONBUS_URL", raising=False)
    words = ["--bus", "sqlite:///my.db", "--processes", "3", "--images", "70", "--encode", "png", "--data", tmp_path]
    assert run("demo", *words, "--keep").status == 0
    assert run("demo", "--json").status == 0
    monkeypatch.setenv("VISIONBUS_URL", "sqlite:///other.db")
    assert run("demo").status == 0
    model = tmp_path / "model.onnx"
    model.touch()
    assert run("demo", "--model", model, tmp_path).status == 0
    assert given == [
        Options("sqlite:///my.db", 3, 70, "png", tmp_path, keep=True),
        Options(as_json=True),
        Options("sqlite:///other.db"),
        Options("sqlite:///other.db", model=model, paths=(str(tmp_path),)),
    ]


def test_options_of_fashion_mnist_do_not_go_with_images_of_ones_own(run, given, tmp_path):
    assert run("demo", "--images", "10", tmp_path).status == 2
    assert run("demo", "--data", tmp_path, tmp_path).status == 2
    assert given == []


SOME = Subject(("three.idx",), [np.zeros((28, 28), np.uint8)] * 3, ["Bag"] * 3)
HERE = place.Place(Path("results.db"), Path())


def test_bus_of_ones_own_gets_topics_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = Options("sqlite:///my.db", 3, encode="png")
    made = running_demo._system(options, HERE, SOME)
    assert (made.bus, made.processes, made.encode) == ("sqlite:///my.db", 3, "png")
    assert made.topic == f"visionbus-demo-{made.run}"
    made = running_demo._system(replace(options, bus=None, processes=None), HERE, SOME)
    assert (made.bus, made.topic, made.processes) == ("sqlite:///bus.db", "visionbus", cores())


def test_images_of_ones_own_are_shrunk_before_they_are_sent():
    assert running_demo._system(Options(paths=("photos",)), HERE, SOME).shrink
    assert not running_demo._system(Options(), HERE, SOME).shrink


class Started(Exception):  # noqa: N818 (it is no error)
    """The command line of a process that was to start."""


class Noting:
    async def start(self, name, module, *words, hear):
        raise Started(name, words)


def test_processes_are_told_bus_topic_run_and_encoding(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = Options("memory://", 3, encode="png")
    made = running_demo._system(options, HERE, SOME)
    bus = ("--bus", "memory://", "--topic", made.topic)
    with pytest.raises(Started) as worker:
        asyncio.run(system.start_services(made, Noting()))
    assert worker.value.args == ("worker", ("worker", *bus, "--model", str(made.model), "--processes", "3"))
    with pytest.raises(Started) as send:
        asyncio.run(system.send_and_wait(made, Noting(), [], Counts(3)))
    words = ("send", *bus, "--run", made.run, "--encode", "png")
    assert send.value.args == ("send", (*words, "--", "three.idx"))
    with pytest.raises(Started) as send:
        asyncio.run(system.send_and_wait(replace(made, shrink=True), Noting(), [], Counts(3)))
    assert send.value.args == ("send", (*words, "--shrink", "--", "three.idx"))


def test_two_demos_have_a_place_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with place.own_place() as first, place.own_place() as second:
        assert first.results == Path(".demo/results.db")
        assert second.results == Path(".demo/results-2.db")
        assert first.bus != second.bus


def test_place_is_emptied_of_an_earlier_demo_and_others_are_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with place.own_place() as mine:
        for path in (mine.bus, mine.results, Path(".demo/results.db-wal"), Path(".demo/results-2.db")):
            path.touch()
    with place.own_place() as mine:
        assert not mine.bus.exists()
        assert sorted(path.name for path in Path(".demo").glob("*.db*")) == ["results-2.db"]


def descendants(process):
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)
    return value


@pytest.fixture
def demo(visionbus, tmp_path):
    """Start a demo in a folder of its own."""
    started = []

    def start(*options, **streams):
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | streams
        process = subprocess.Popen([*visionbus, "demo", *options], cwd=tmp_path, stdin=subprocess.DEVNULL, **streams)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def rows_in(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("select count(*) from results where label is not null").fetchone()[0]


@pytest.mark.slow
def test_demo_ends_with_its_verdict_and_leaves_the_database(demo, tmp_path):
    running = demo("--images", "300", "--processes", "2")
    out, err = running.communicate(timeout=90)
    assert (running.returncode, err) == (0, "")
    lines = out.splitlines()
    assert VERDICT.fullmatch(lines[-1]).group(1, 2) == ("300", "300")
    assert sum(line.startswith("image ") for line in lines) == 10
    assert "published 0 classified 0 stored 0 images/s 0" not in lines
    for start in ("published 300 classified 300 stored 300", "images/s ", "ratio ", "seconds from published to stored"):
        assert any(line.startswith(start) for line in lines), start
    assert rows_in(tmp_path / ".demo" / "results.db") == 300
    assert sorted(path.name for path in (tmp_path / ".demo").iterdir()) == ["results.db", "run"]
    assert list((tmp_path / ".demo" / "run").glob("bus.db*")) == []
    assert "processes 1 client, 2 workers, 1 results consumer" in lines
    (look,) = (line for line in lines if line.startswith("rows "))
    looked = subprocess.run(look[5:], shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert len(looked.stdout.splitlines()) == 10


@pytest.mark.slow
def test_json_is_one_document_png_gives_the_same_answers_and_the_bus_may_be_kept(demo, tmp_path):
    running = demo("--images", "200", "--encode", "png", "--processes", "1", "--keep", "--json")
    out, err = running.communicate(timeout=90)
    assert (running.returncode, err) == (0, "")
    document = json.loads(out)
    assert document["holds"]
    assert (document["sent"], document["stored"], document["wrong"], document["processes"]) == (200, 200, 0, 1)
    assert (tmp_path / ".demo" / "run" / "bus.db").exists()


@pytest.mark.slow
def test_two_demos_at_once_both_hold(demo, tmp_path):
    running = [demo("--images", "300", "--processes", "1") for _ in range(2)]
    for one in running:
        out, err = one.communicate(timeout=90)
        assert (one.returncode, err) == (0, "")
        assert VERDICT.fullmatch(out.splitlines()[-1])
    assert rows_in(tmp_path / ".demo" / "results.db") == rows_in(tmp_path / ".demo" / "results-2.db") == 300


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGINT, 130, "visionbus: interrupted\n"), (signal.SIGTERM, 143, ""), (signal.SIGKILL, -9, "")],
)
def test_all_processes_end_with_the_demo(demo, number, status, said):
    running = demo("--processes", "2")
    wait_for(lambda: len(descendants(running)) >= 4)  # the services; the sender comes and goes
    children = descendants(running)
    running.send_signal(number)
    _, err = running.communicate(timeout=30)
    assert (running.returncode, err) == (status, said)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


@pytest.mark.slow
@pytest.mark.parametrize("command", ["worker", "results"])
def test_service_that_dies_ends_the_demo_with_its_name(demo, command):
    running = demo("--processes", "1")
    victim = wait_for(
        lambda: next(
            (one for one in descendants(running) if command in one.cmdline() and "visionbus" in one.cmdline()), 0
        )
    )
    wait_for(lambda: len(descendants(running)) >= 3)
    children = descendants(running)
    victim.kill()
    out, err = running.communicate(timeout=60)
    assert running.returncode == 1
    assert f"the process '{command}' was killed by SIGKILL" in err
    assert err.count("\n") == 1
    assert "sent 10000" not in out
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


@pytest.mark.slow
def test_demo_on_a_terminal_shows_bars_and_pictures(demo):
    controller, terminal = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "50", "COLORTERM": "truecolor"}
    environment.pop("NO_COLOR", None)
    running = demo("--images", "200", "--processes", "1", stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    shown = b""
    try:
        while chunk := os.read(controller, 65536):
            shown += chunk
    except OSError:  # the other end is closed
        pass
    assert running.wait(timeout=30) == 0
    text = shown.decode()
    assert "▀" in text
    assert "━" in text
    assert VERDICT.fullmatch(text.rstrip().splitlines()[-1])


@pytest.mark.slow
def test_demo_of_ones_own_images_tells_what_cannot_be_sent_or_read(demo, images, tmp_path):
    (images / "Bag" / "broken.png").write_bytes(b"no image")
    (images / "Bag" / "dangling.png").symlink_to("nowhere")
    running = demo("--json", "--processes", "1", str(images))
    out, err = running.communicate(timeout=90)
    assert (running.returncode, err) == (0, "")
    document = json.loads(out)
    assert (document["sent"], document["stored"], document["wrong"], document["unreadable"]) == (5, 5, 0, 1)
    assert document["holds"]
    (left_out,) = document["left_out"]
    assert "dangling.png" in left_out


@pytest.mark.slow
def test_missing_data_is_one_line_with_the_cure(demo, tmp_path):
    running = demo("--data", str(tmp_path))
    _, err = running.communicate(timeout=60)
    assert running.returncode == 1
    assert err.startswith("visionbus: error: ")
    assert err.count("\n") == 1


def test_demo_imports_no_torch():
    code = "import sys, visionbus.cli.demo.run; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
