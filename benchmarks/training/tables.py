"""Renders the table of each row from its measurements, with what it says about the goal."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from training import kept, rows, schedules
from training.figures import epochs, mean, percent, seconds, spread, table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from training.kept import Record


def of_schedules(records: Sequence[Record]) -> str:
    found = [(one, kept.of(records, schedules.ROW, schedules.name(one))) for one in schedules.EPOCHS]
    lines = [(f"{one:g}", percent(runs, "validation"), seconds(runs)) for one, runs in found if runs]
    return table(("epochs", "accuracy on validation, %", "seconds"), lines)


def ours_for(records: Sequence[Record], row: str, accuracy: float) -> list[Record]:
    """Return the measurements of our schedule for an accuracy on validation."""
    try:
        name = schedules.name(schedules.least(schedules.measured(records), accuracy))
    except schedules.NoScheduleError:
        return []
    return kept.of(records, row, name)


def of_documented(records: Sequence[Record]) -> str:
    lines, times = [], {}
    for name in rows.PEERS:
        if runs := kept.of(records, "a", name):
            own = ours_for(records, "a", schedules.as_on_test(mean(runs, "accuracy")))
            faster = f"{mean(runs, 'wall') / mean(own, 'wall'):.1f}" if own else "not measured"
            theirs = (name, epochs(runs), percent(runs), seconds(runs), seconds(runs, "cpu"))
            lines.append((*theirs, epochs(own), percent(own), seconds(own), faster))
            times[name] = mean(runs, "wall")
    theirs = ("peer", "epochs", "accuracy on test, %", "seconds", "CPU seconds")
    text = table((*theirs, "ours: epochs", "accuracy, %", "seconds", "times faster"), lines)
    return f"{text}\n\n{against_the_fastest(records, times)}" if times else text


def against_the_fastest(records: Sequence[Record], times: dict[str, float]) -> str:
    """Compare ours, as accurate as the fastest peer and as the most accurate one, with the fastest peer."""
    accuracies = {name: mean(kept.of(records, "a", name), "accuracy") for name in times}
    fastest = min(times, key=times.__getitem__)

    def compared_at(accuracy: float) -> str:
        own = ours_for(records, "a", schedules.as_on_test(accuracy))
        if not own:
            return "ours is not measured yet"
        level = "at least" if mean(own, "accuracy") >= accuracy else "NOT"
        faster = times[fastest] / mean(own, "wall")
        return f"ours with {epochs(own)} epochs is {level} as accurate, and {faster:.1f} times as fast as the fastest"

    return (
        f"Against the fastest of them, {fastest}: {compared_at(accuracies[fastest])}. Goal: 5. "
        f"Against the most accurate of them: {compared_at(max(accuracies.values()))}."
    )


def of_target(records: Sequence[Record]) -> str:
    lines, bounds = [], {}
    for name in rows.PEERS:
        if runs := kept.of(records, "b", name):
            reached = [run for run in runs if run["reached"]]
            each = [f"{'' if run['reached'] else 'not within '}{run['wall']:.1f}" for run in runs]
            took = seconds(runs) if len(reached) == len(runs) else ", ".join(each)  # caps may differ
            what = f"{len(reached)} of {len(runs)}, best {100 * max(run['best_validation'] for run in runs):.2f} %"
            lines.append((name, what, epochs(runs), took, seconds(runs, "cpu"), percent(runs)))
            bounds[name] = mean(runs, "wall"), len(reached) == len(runs)
    if own := ours_for(records, "b", rows.TARGET):
        reached = [run for run in own if run["validation"] >= rows.TARGET]
        what = f"{len(reached)} of {len(own)}, mean {percent(own, 'validation')} %"
        lines.append(("visionbus", what, epochs(own), seconds(own), seconds(own, "cpu"), percent(own)))
    header = (
        "",
        f"seeds that reached {100 * rows.TARGET:g} %",
        "epochs",
        "seconds",
        "CPU seconds",
        "accuracy on test, %",
    )
    text = table(header, lines)
    if own and bounds:
        fastest = min(bounds, key=lambda name: bounds[name][0])
        wall, all_reached = bounds[fastest]
        more = "" if all_reached else "more than "
        text += (
            f"\n\nThe fastest of them ({fastest}) takes {more}{wall / mean(own, 'wall'):.1f} times as long. Goal: 5."
        )
    return text


def of_default(records: Sequence[Record]) -> str:
    runs = kept.of(records, "default", rows.DEFAULT)

    def met(values: Sequence[float], most: float, least: float = 0) -> str:
        return f"{sum(least <= value <= most for value in values)} of {len(values)}"

    accuracies, walls, sizes = ([run[key] for run in runs] for key in ("accuracy", "wall", "bytes"))
    lines = [
        ("accuracy on test, %", percent(runs), "93.5 or more", met(accuracies, 1, 0.935)),
        ("seconds, the whole process", seconds(runs), "300 or less", met(walls, 300)),
        ("CPU seconds", seconds(runs, "cpu"), "", ""),
        ("size of the file, MB", spread(sizes, 2, 1e-6), "1.5 or less", met(sizes, 1.5e6)),
        *(
            (f"microseconds an image on one core, {size} at a time", spread(times), "300 or less", met(times, 300))
            for size in ("1", "64")
            if (times := [run["microseconds"][size] for run in runs])
        ),
    ]
    return table(("", "", "goal", "seeds that meet it"), lines)


def compared(row: str, names: Sequence[str]) -> Callable[[Sequence[Record]], str]:
    """Return what renders accuracy and time of each."""

    def render(records: Sequence[Record]) -> str:
        found = [(name, kept.of(records, row, name)) for name in names]
        lines = [
            (name, percent(runs), seconds(runs, "cpu"), seconds(runs), epochs(runs) if "epochs" in runs[0] else "")
            for name, runs in found
            if runs
        ]
        return table(("", "accuracy on test, %", "CPU seconds", "seconds", "epochs"), lines)

    return render


def of_budget(records: Sequence[Record]) -> str:
    lines = [
        (data, f"{budget:g} s", seconds(runs), epochs(runs), percent(runs))
        for data, budgets in rows.BUDGETS.items()
        for budget in budgets
        if (runs := kept.of(records, "budget", rows.budgeted(data, budget)))
    ]
    return table(("", "`--time-budget`", "seconds, the whole process", "epochs", "accuracy on test, %"), lines)


def of_startup(records: Sequence[Record]) -> str:
    cases = ((rows.HELP, "visionbus --help", "wall", "0.3"), (rows.FIRST_EPOCH, "first step done", "seconds", "8"))
    lines = []
    for name, title, key, goal in cases:
        if times := [run[key] for run in kept.of(records, "startup", name)]:
            figures = (f"{value:.2f}" for value in (statistics.median(times), min(times), max(times)))
            lines.append((title, *figures, f"less than {goal}"))
    return table(("seconds", "median", "least", "most", "goal"), lines)


def of_decoding(records: Sequence[Record]) -> str:
    return "\n\n".join(run["text"] for run in kept.of(records, "decoding"))


TABLES: dict[str, Callable[[Sequence[Record]], str]] = {
    schedules.ROW: of_schedules,
    "a": of_documented,
    "b": of_target,
    "default": of_default,
    "photos": compared("photos", (rows.SCRATCH, rows.KERAS_PHOTOS, rows.FASTAI_PHOTOS)),
    "pretrained": compared("pretrained", (rows.BACKBONE, rows.PROBE)),
    "budget": of_budget,
    "startup": of_startup,
    "decoding": of_decoding,
}
