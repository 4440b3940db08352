import io
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

from rich.console import Console

from visionbus.training.history import Epoch
from visionbus.training.progress import TrainingProgress

pytestmark = pytest.mark.slow  # torch takes seconds to import


@pytest.fixture
def said():
    return io.StringIO()


@pytest.fixture
def progress(said):
    return TrainingProgress(Console(file=said, width=40))


@pytest.fixture
def on_terminal(said, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    return TrainingProgress(Console(file=said, width=80, force_terminal=True))


def test_epochs_are_lines_with_speed_and_time_left(progress, said):
    with progress:
        progress.stage("decide, seed 0, 500 images", 20, later=3.0)
        progress.step()
        progress.epoch(Epoch(1, 4, 500, 0.51234, 0.8, 2.0, validation_loss=0.5, validation_accuracy=0.75))
    first, second = said.getvalue().splitlines()
    assert first == "decide, seed 0, 500 images: 20 steps"
    figures = "loss 0.5123, accuracy 0.8000, held out 0.7500, 250 images/s, 12 s left"
    assert second == f"decide, seed 0, 500 images: epoch 1 of 4, {figures}"


def test_epochs_that_take_a_moment_are_told_one_a_second_and_the_last(progress, said, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("visionbus.training.progress.time", SimpleNamespace(monotonic=lambda: clock.now))

    def told():
        return [int(line.split()[6]) for line in said.getvalue().splitlines() if ": epoch" in line]

    progress.stage("decide, seed 0, 500 images", 20, later=0.0)
    for number in range(1, 7):
        progress.epoch(Epoch(number, 7, 500, 0.5, 0.8, 0.4))
        clock.now += 0.4
    assert told() == [1, 4]
    clock.now += 0.4
    progress.step()  # the first one of an epoch that takes its time
    assert told() == [1, 4, 6]
    progress.epoch(Epoch(7, 7, 500, 0.5, 0.8, 0.4))
    progress.say("held out: accuracy 0.8000")
    assert told() == [1, 4, 6, 7]


def test_terminal_gets_a_bar_of_decoded_files(on_terminal, said):
    with on_terminal, on_terminal.decoding() as advance:
        advance(3, 10)
    assert "decoding" in said.getvalue()
    assert "30%" in said.getvalue()


def test_terminal_gets_a_bar_of_steps(on_terminal, said):
    with on_terminal:
        on_terminal.doing("trying what is fast")
        on_terminal.stage("decide, seed 0, 500 images", 20, later=3.0, done=7)
        on_terminal.step()
    assert "trying what is fast" in said.getvalue()
    assert "40%" in said.getvalue()


def test_terminal_gets_a_bar_of_images_whose_features_are_computed_and_then_of_steps(on_terminal, said):
    with on_terminal:
        on_terminal.stage("decide, seed 0, 500 images", 20, later=3.0)
        on_terminal.features(375, 500)
        assert on_terminal._bar.tasks[0].description == "decide, seed 0, 500 images: features"
        assert on_terminal._bar.tasks[0].percentage == 75
        on_terminal.step()
        assert on_terminal._bar.tasks[0].description == "decide, seed 0, 500 images"
        assert on_terminal._bar.tasks[0].percentage == 5


def test_without_a_terminal_features_are_told_now_and_then(progress, said, monkeypatch):
    seconds = iter([0.0, 1.0, 31.0, 31.0, 40.0, 62.0, 62.0])
    monkeypatch.setattr("visionbus.training.progress.time.monotonic", lambda: next(seconds))
    progress.stage("decide, seed 0, 500 images", 20, later=3.0)
    for done in (100, 200, 300, 400):
        progress.features(done, 500)
    lines = said.getvalue().splitlines()
    assert lines[1:] == [f"decide, seed 0, 500 images: features of {done} of 500 images" for done in (200, 400)]


def test_without_a_terminal_there_is_no_bar(progress, said):
    with progress, progress.decoding() as advance:
        advance(3, 10)
    assert said.getvalue() == ""


def test_a_fit_that_goes_on_says_where(progress, said):
    progress.stage("final, seed 0, 500 images", 20, later=0.0, done=7)
    assert said.getvalue() == "final, seed 0, 500 images: 20 steps, 7 of them done\n"


def test_what_a_file_name_says_to_a_terminal_is_shown_and_not_done(progress, said):
    progress.say("skipped \x1b[2J[red].png")
    assert "\x1b" not in said.getvalue()
    assert "[red].png" in said.getvalue()


def test_without_a_console_nothing_is_shown(capsys):
    with TrainingProgress(None) as progress:
        progress.say("nobody hears it")
    assert capsys.readouterr() == ("", "")
