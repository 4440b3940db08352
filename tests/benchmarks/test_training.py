"""The benchmark of training: what it keeps, chooses and renders, and how it runs programs; not what it measures."""

import json
import subprocess
import sys
from argparse import Namespace

import pytest
from training import kept, page, rows, schedules, tables
from training.contestants import Case, trained
from training.machine import commit, describe
from training.peers.peer import Epochs
from training.running import FailedError, OverdueError, run


def record(row, contestant, seed=0, **figures):
    common = {"machine": "a processor", "commit": "abc", "when": "2030-01-02 03:04", "cap": 1800.0}
    return {"row": row, "contestant": contestant, "seed": seed, "wall": 10.0, "cpu": 20.0, **common, **figures}


def schedule(epochs, *validations):
    return [record("schedules", f"{epochs}", seed, epochs=epochs, validation=v) for seed, v in enumerate(validations)]


def test_what_is_kept_is_read_again_and_forgotten_by_row(tmp_path):
    file = tmp_path / "results.jsonl"
    assert kept.read(file) == []
    for row in ("a", "b", "a"):
        kept.append(file, {"row": row})
    kept.without(file, "a")
    kept.append(file, {"row": "c"})
    assert [one["row"] for one in kept.read(file)] == ["b", "c"]


def test_a_row_goes_on_with_what_is_missing_one_seed_of_all_then_the_next():
    there = [record("a", "x", 0), record("a", "y", 1), record("b", "y", 0)]
    assert kept.missing(there, "a", ["x", "y"], range(2)) == [(0, "y"), (1, "x")]


def test_the_least_schedule_above_the_margin_is_taken():
    measured = schedules.measured([*schedule(1.0, 0.90, 0.91), *schedule(2.0, 0.91, 0.92), *schedule(4.0, 0.93)])
    assert schedules.least(measured, 0.90) == 1.0
    assert schedules.least(measured, 0.905) == 2.0
    assert schedules.least(measured, 0.9265) == 4.0
    with pytest.raises(schedules.NoScheduleError, match="ROW=schedules"):
        schedules.least(measured, 0.93)


def test_the_schedules_of_row_a_follow_from_what_the_peers_had_on_test():
    records = [*schedule(1.0, 0.90), *schedule(2.0, 0.93)]
    records += [record("a", rows.KERAS, seed, accuracy=0.88) for seed in range(2)]
    records += [record("a", rows.FASTAI, accuracy=0.89), record("a", rows.LIGHTNING, accuracy=0.92)]
    assert [one.name for one in rows.as_accurate(records)] == ["visionbus, 1 epochs", "visionbus, 2 epochs"]


def test_the_schedules_of_row_a_are_chosen_for_a_test_part_that_is_harder_than_validation():
    records = [*schedule(1.0, 0.90), record("a", rows.KERAS, accuracy=0.894)]
    with pytest.raises(schedules.NoScheduleError, match=r"no schedule has 0\.9020"):
        rows.as_accurate(records)


def test_peers_get_the_processor_time_that_ours_took_with_the_same_seed(tmp_path):
    records = [record("photos", rows.SCRATCH, seed, cpu=100.0 + seed) for seed in range(3)]
    case = Case(2, 1800.0, quick=False, data=tmp_path, folder=tmp_path, records=records)
    assert rows.same_cpu(case) == ["--cpu", "102.0"]


def test_row_a_compares_ours_as_accurate_as_the_fastest_and_as_the_best_with_the_fastest():
    records = [*schedule(1.0, 0.90), *schedule(2.0, 0.93)]
    peers = {rows.KERAS: (0.88, 60.0), rows.FASTAI: (0.89, 100.0), rows.LIGHTNING: (0.92, 200.0)}
    records += [record("a", name, accuracy=a, wall=wall, epochs=9) for name, (a, wall) in peers.items()]
    records += [record("a", f"visionbus, {n} epochs", accuracy=0.91 + n / 100, wall=10.0 * n, epochs=n) for n in (1, 2)]
    text = tables.of_documented(records)
    assert "| Keras, mnist_convnet | 9 | 88.00 | 60.0 | 20.0 | 1 | 92.00 | 10.0 | 6.0 |" in text
    fastest, best = text.splitlines()[-1].split(" Goal: 5. ")
    faster = "is at least as accurate, and {} times as fast as the fastest."
    assert fastest.endswith(f" fastest of them, Keras, mnist_convnet: ours with 1 epochs {faster.format('6.0')}")
    assert best.endswith(f" most accurate of them: ours with 2 epochs {faster.format('3.0')}")
    assert tables.of_documented(records[:-1]).endswith(" most accurate of them: ours is not measured yet.")


def test_row_b_says_more_than_where_a_peer_did_not_get_there():
    figures = {"accuracy": 0.9, "best_validation": 0.91, "epochs": 30}
    records = [*schedule(3.0, 0.94), record("b", rows.KERAS, reached=False, wall=400.0, **figures)]
    records += [record("b", "visionbus, 3 epochs", s, accuracy=0.93, validation=v, wall=50.0, epochs=3)
                for s, v in enumerate((0.93, 0.92))]  # fmt: skip
    text = tables.of_target(records)
    assert "| Keras, mnist_convnet | 0 of 1, best 91.00 % | 30 | not within 400.0 |" in text
    there = record("b", rows.KERAS, 1, reached=True, wall=90.0, **figures)
    assert "| 1 of 2, best 91.00 % | 30 | not within 400.0, 90.0 |" in tables.of_target([*records, there])
    assert "| visionbus | 1 of 2, mean 92.50 ± 0.71 % | 3 | 50.0 ± 0.0 |" in text
    assert "takes more than 8.0 times as long" in text


def test_the_page_gets_each_table_between_its_marks():
    text = page.PAGE.read_text(encoding="utf-8")
    assert set(rows.ROWS) == {found[1] for found in page.MARKED.findall(text)} == set(page.TABLES)
    times = [record("startup", rows.HELP, seed, wall=wall) for seed, wall in enumerate((0.2, 0.1, 0.4))]
    once = page.rendered(text, times)
    assert "| visionbus --help | 0.20 | 0.10 | 0.40 | less than 0.3 |" in once
    assert "a processor; seeds 0, 1, 2; commit abc; 2030-01-02." in once
    assert page.rendered(once, times) == once
    assert page.rendered(once, []).count("Not measured yet.") == len(rows.ROWS)


def test_the_page_shows_what_is_kept():
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.rendered(text, kept.read(kept.RESULTS)) == text, "make bench-training ROW=table writes it"


def test_the_figures_of_a_training_are_found():
    made = {"recipe": {"epochs": 2.0}, "precision": "fp32", "threads": 2, "versions": {"torch": "2"}, "command": "x"}
    document = {"figures": {"validation": {"accuracy": 0.9}, "test": {"accuracy": 0.8}}, "provenance": made}
    found = trained(json.loads(json.dumps(document)))
    assert (found["accuracy"], found["validation"], found["epochs"]) == (0.8, 0.9, 2.0)
    del document["figures"]["test"]
    assert "accuracy" not in trained(document)


def test_a_processor_is_described_by_the_flags_that_matter():
    info = "processor : 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 avx512_bf16 amx_bf16x\n"
    assert describe(info, 2) == "Some CPU, 2 cores, avx2 avx512_bf16"


def test_a_commit_is_dirty_where_anything_but_the_results_has_changed(tmp_path):
    def git(*words):
        names = ("-c", "user.name=n", "-c", "user.email=e@example.org")
        subprocess.run(["git", *names, *words], cwd=tmp_path, capture_output=True, check=True)

    code, results = tmp_path / "code.py", tmp_path / "some" / kept.RESULTS.name
    results.parent.mkdir()
    for path in (code, results):
        path.write_text("before")
    git("init")
    git("add", "--all")
    git("commit", "-m", "all")
    clean = commit(tmp_path)
    assert clean.isalnum()
    results.write_text("one more")
    assert commit(results.parent) == clean
    code.write_text("another")
    assert commit(tmp_path) == f"{clean}-dirty"


def test_a_run_counts_the_processor_time_of_processes_that_it_waited_for(tmp_path):
    spin = "import time; [0 for _ in iter(lambda: time.process_time() < 0.3, False)]"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {spin!r}]); print('done')"
    done = run([sys.executable, "-c", code], tmp_path, seconds=60)
    assert done.text == "done\n"
    assert done.cpu > 0.3
    assert done.wall > 0


def test_a_program_that_takes_too_long_is_ended_with_its_processes(tmp_path):
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    with pytest.raises(OverdueError):
        run([sys.executable, "-c", code], tmp_path, seconds=0.5)


def test_a_program_that_fails_is_shown_with_what_it_said(tmp_path):
    with pytest.raises(FailedError, match="out of luck"):
        run([sys.executable, "-c", "import sys; sys.exit('out of luck')"], tmp_path, seconds=60)


@pytest.mark.parametrize(
    ("options", "accuracies", "enough"),
    [
        ({}, [0.9], False),
        ({}, [0.9, 0.9, 0.9], True),  # as documented
        ({"target": 0.92}, [0.9, 0.91, 0.915], False),
        ({"target": 0.92}, [0.9, 0.92], True),
        ({"target": 0.92, "cap": 0.0}, [0.9], True),
        ({"cpu": 1e9}, [0.9] * 4, False),
        ({"cpu": 0.0}, [0.9], True),
        ({"quick": True}, [0.1], True),
    ],
)
def test_a_peer_stops_when_it_has_what_is_asked_of_it(options, accuracies, enough):
    given = Namespace(**{"target": None, "cap": 1e9, "cpu": None, "quick": False, **options})
    epochs = Epochs(given, documented=3)
    for accuracy in accuracies:
        epochs.add(accuracy)
    assert epochs.enough is enough
