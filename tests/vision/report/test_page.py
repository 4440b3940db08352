"""The page as a file: what it says, what it never lets out, how large it gets."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from visionbus.vision.card import card
from visionbus.vision.datasets import Leak, Skipped
from visionbus.vision.datasets.leaks import Place
from visionbus.vision.evaluation import measure as figures_of
from visionbus.vision.report import Measured, write_report
from visionbus.vision.text import percent

CLASSES = ("circle", "square", "triangle")

HISTORY = [
    {"fit": "decide", "epoch": 1, "loss": 1.5, "accuracy": 0.5, "validation_loss": 1.6, "validation_accuracy": 0.45},
    {"fit": "decide", "epoch": 2, "loss": 0.7, "accuracy": 0.913, "validation_loss": 0.9, "validation_accuracy": 0.71},
    {"fit": "final", "epoch": 1, "loss": 1.4, "accuracy": 0.52},
    {"fit": "final", "epoch": 2, "loss": 0.6, "accuracy": 0.927},
]


class Reader(HTMLParser):
    """What a browser makes of a page: its elements, and its text by the id of the section."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.texts, self._section = [], {}, "header"
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "section":
            self._section = dict(attrs)["id"]

    def handle_data(self, data):
        self.texts[self._section] = " ".join(f"{self.texts.get(self._section, '')} {data}".split())


def test_every_part_is_there_with_a_sentence_that_explains_it(write):
    page = Reader(write())
    ids = [attributes["id"] for tag, attributes in page.elements if tag == "section"]
    assert ids == [
        *("short", "classes", "confusion", "mistakes", "suspects", "calibration"),
        *("data", "skipped", "leaks", "training", "speed", "repeat", "card"),
    ]
    assert page.source.count('<p class="lead">') >= len(ids)
    linked = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert linked == [f"#{one}" for one in ids]


def test_accuracy_is_said_with_its_interval(write):
    header = Reader(write(images=100, accuracy=1)).texts["header"]
    assert "100.0 % accuracy" in header
    assert "96.3 % to 100.0 % with 95 % confidence" in header


def test_what_is_measured_and_what_else_must_be_known_is_said(write):
    header = Reader(write(note="Of another network.")).texts["header"]
    assert "60 images of noise (the test split)" in header
    assert "Of another network." in header


def test_every_class_has_its_figures_the_worst_first(write):
    text = Reader(write(images=90)).texts["classes"]
    places = [text.index(name) for name in CLASSES]
    assert all(place > 0 for place in places)
    shares = [float(share) for share in re.findall(r"([\d.]+) % \d+(?: |$)", text)]
    assert shares == sorted(shares)
    assert len(shares) == 3


def test_figures_of_a_class_stand_under_their_heads(write, measure):
    text = Reader(write(images=90)).texts["classes"]
    _, measured = measure(CLASSES, images=90)
    assert "Class Recall Precision F1 Support" in text
    for name, one in measured.evaluation.per_class.items():
        assert one.recall != one.precision
        assert f"{name} {percent(one.recall)} {percent(one.precision)} {percent(one.f1)} {one.support}" in text


def test_class_without_images_has_no_figures(write, measure, model, tmp_path):
    data, measured = measure(("a", "b", "c"), images=2)
    write_report(tmp_path / "few.html", model(("a", "b", "c")), data, measured, command="x")
    page = Reader(tmp_path / "few.html")
    assert "c - - - 0" in page.texts["classes"].replace("\N{EN DASH}", "-")
    assert "Only 2 images were measured" in page.texts["short"]
    assert "1 class has no image here" in page.texts["short"]


def test_nearly_the_same_logits_are_one_answer_everywhere(measure, model, tmp_path):
    data, measured = measure(("a", "b"), images=2)
    logits = np.array([[0.1, np.nextafter(np.float32(0.1), np.float32(1))], [0, 0]], np.float32)
    write_report(tmp_path / "x.html", model(("a", "b")), data, Measured(measured.dataset, logits, "test"), command="x")
    assert "confusion" in Reader(tmp_path / "x.html").texts


def test_test_set_alone_is_on_the_contact_sheets(measure, model, tmp_path):
    data, measured = measure(("a", "b"))
    alone = replace(data, train=data.train.subset(slice(0)))
    write_report(tmp_path / "x.html", model(("a", "b")), alone, measured, command="x")
    elements = Reader(tmp_path / "x.html").elements
    starts = [number for number, (tag, _) in enumerate(elements) if tag == "section"]
    (start,) = (number for number in starts if elements[number][1]["id"] == "data")
    shown = elements[start : starts[starts.index(start) + 1]]
    assert sum(tag == "img" for tag, _ in shown) > 2


@pytest.mark.parametrize("known", [True, False])
def test_card_calls_probabilities_calibrated_only_where_they_are(model, known):
    text = card(model(figures={"validation": {"temperature": 1.5}} if known else {}))
    assert ("were calibrated on" in text) is known
    assert ("Nothing is known of how the probabilities" in text) is not known


@pytest.mark.parametrize(("count", "drawn"), [(2, True), (30, True), (31, False), (200, False)])
def test_matrix_is_drawn_up_to_thirty_classes_and_the_worst_confusions_are_always_listed(write, count, drawn):
    page = Reader(write([f"class {number}" for number in range(count)], images=2 * count))
    matrices = [attributes for tag, attributes in page.elements if "matrix" in attributes.get("class", "")]
    assert bool(matrices) == drawn
    assert "cannot be read" not in page.texts["confusion"] or not drawn
    assert "taken for" in page.texts["confusion"]


def test_cells_of_the_matrix_are_the_counts_by_label_and_by_what_was_predicted(write, measure):
    source = Reader(write()).source
    _, measured = measure(CLASSES)
    head, body = re.search(r'<table class="matrix">(.*?)<tbody>(.*?)</tbody>', source, re.DOTALL).groups()
    rows = [row for row in body.split("</tr>") if row.strip()]
    cells = [re.findall(r"<td[^>]*>(\d*)</td>", row) for row in rows]
    assert tuple(tuple(int(cell or 0) for cell in row) for row in cells) == measured.evaluation.confusion
    assert re.findall('<th scope="col" title="taken for (.*?)"', head) == [*CLASSES]
    assert re.findall('<th scope="row" title="(.*?)"', body) == [*CLASSES]


def test_mistakes_come_with_their_picture_name_and_probabilities(write):
    page = Reader(write(images=50, accuracy=0.9))
    assert re.search(r"square \d+\.\d % labelled circle .?\d+\.\d % circle/\d+", page.texts["mistakes"])
    assert sum(tag == "img" for tag, _ in page.elements) > 10


def test_suspect_labels_are_listed_and_counted(write):
    text = Reader(write(images=60, accuracy=0.9)).texts["suspects"]
    assert re.search(r"\d+ labels are suspect", text)
    assert "List to check" in text


def test_model_without_mistakes_says_so(write):
    page = Reader(write(accuracy=1))
    assert "every image was classified correctly" in page.texts["mistakes"]
    assert "There are none." in page.texts["suspects"]
    assert "No image was taken for another class." in page.texts["confusion"]
    assert "No image was misclassified." in page.texts["short"]


def test_calibration_before_is_that_of_the_logits_times_the_temperature(write, model, measure):
    about = model(CLASSES, figures={"validation": {"temperature": 3.0}})
    text = Reader(write(about=about)).texts["calibration"]
    _, measured = measure(CLASSES)
    before = figures_of(measured.logits * 3, measured.dataset.labels, measured.dataset.classes).calibration
    assert f"Before temperature scaling off by {100 * before.error:.1f} points, loss {before.loss:.3f}" in text
    assert f"off by {100 * measured.evaluation.calibration.error:.1f} points" in text
    assert "temperature 3.000" in text


@pytest.mark.parametrize(
    ("sure", "right", "said"),
    [
        ([0.9], [9], "Its probabilities mean what they say: on average they are off by 0.0 points."),
        ([0.95], [6], "Its probabilities promise too much: it is 95.0 % sure on average, and right in 60.0 %"),
        ([0.6], [10], "Its probabilities are cautious: it is 60.0 % sure on average, and right in 100.0 %"),
        ([0.6, 0.9], [9, 6], "Its probabilities mislead on these images, some too high and some too low: on average"),
    ],
)
def test_short_summary_says_which_way_probabilities_are_off(measure, model, tmp_path, sure, right, said):
    data, measured = measure(("a", "b"), images=10 * len(sure))
    guesses = np.concatenate([np.arange(10) < number for number in right]) ^ (measured.dataset.labels == 0)
    odds = np.repeat(np.log(np.array(sure) / (1 - np.array(sure))), 10)
    logits = (odds[:, None] * np.stack([~guesses, guesses], axis=1)).astype(np.float32)
    write_report(tmp_path / "x.html", model(("a", "b")), data, Measured(measured.dataset, logits, "test"), command="x")
    assert said in Reader(tmp_path / "x.html").texts["short"]


def test_calibration_of_a_file_that_names_no_temperature_is_shown_alone(write):
    text = Reader(write()).texts["calibration"]
    assert "Before" not in text
    assert "names no temperature" in text


def test_curves_are_drawn_where_the_file_has_a_history(write, model):
    page = Reader(write(about=model(figures={"history": HISTORY})))
    for said in ("trial fit, images it learns: 91.3 %", "trial fit, held-out images: 0.900", "final fit"):
        assert said in page.texts["training"]
    assert page.source.count("<polyline") == 2 * 2 * 3
    assert "knows some by heart" in page.texts["short"]


def test_model_that_has_learnt_nothing_is_told_to_learn_longer(write, model):
    history = [HISTORY[0] | {"validation_accuracy": 0.1}]
    short = Reader(write(about=model(figures={"history": history}))).texts["short"]
    assert "It has learnt too little to tell: give it more epochs, or more time." in short
    assert "by heart" not in short


def test_training_that_had_to_be_done_in_time_is_told(write, model):
    about = model(provenance={"command": "visionbus train x", "time_budget": 90.0})
    assert "This model had to be done in time, and may lack epochs" in Reader(write(about=about)).texts["repeat"]


def test_epochs_that_were_undone_say_nothing_of_the_model(write, model):
    undone = [*HISTORY[:1], HISTORY[1] | {"undone": True}]
    page = Reader(write(about=model(figures={"history": undone})))
    assert "held-out images: 0.900" in page.texts["training"], "they are drawn"
    assert "knows some by heart" not in page.texts["short"]


def test_images_that_there_was_no_time_for_are_told(write, model):
    figures = {"history": HISTORY, "train": {"images": 16, "of": 269}}
    texts = Reader(write(about=model(figures=figures, provenance={"command": "visionbus train x"}))).texts
    assert "In the time it was given, the model learnt from 16 of 269 images." in texts["short"]
    assert "it knows some by heart." in texts["short"]
    assert "More images would help" not in texts["short"]
    assert "This model learnt from 16 of 269 images, for want of time; the command takes" in texts["repeat"]


def test_training_that_was_stopped_is_told(write, model):
    about = model(figures={"stopped": "in epoch 2 of 6"}, provenance={"command": "visionbus train x"})
    texts = Reader(write(about=about)).texts
    assert "Its training was stopped before all of it was done: in epoch 2 of 6." in texts["short"]
    assert "the command does all of it" in texts["repeat"]


@pytest.mark.parametrize(
    "history",
    [
        None,
        "epochs",
        [],
        [None, 1, "x", []],
        [{"fit": "decide"}],
        [{"fit": "other", "epoch": 1, "loss": 1}],
        [{"fit": "final", "epoch": "1", "loss": True and "high", "accuracy": None}],
        {"fit": "final"},
    ],
)
def test_model_that_tells_nothing_of_its_training_has_no_curves(write, model, history):
    text = Reader(write(about=model(figures={"history": history, "validation": "none", "parameters": "many"}))).texts
    assert "there are no curves" in text["training"]


def test_skipped_files_and_leaks_are_named_and_counted(write):
    skipped = tuple(Skipped(f"broken {number}.png", "the file is empty") for number in range(150))
    leak = Leak((Place("train", "circle", "one.png"), Place("test", "square", "two.png")))
    texts = Reader(write(skipped=skipped, leaks=(leak,), notes=("a note of the data",))).texts
    assert "150 files skipped; the first 100 are listed" in texts["skipped"]
    assert "broken 99.png the file is empty" in texts["skipped"]
    assert "broken 100.png" not in texts["skipped"]
    assert "different splits and labels one.png train, circle two.png test, square" in texts["leaks"]
    assert "a note of the data" in texts["data"]
    assert "150 files could not be used" in texts["short"]


def test_commands_speed_size_and_card_are_there(write, model):
    about = model(provenance={"command": "visionbus train shapes -o tiny.onnx", "seed": 1}, figures={"accuracy": 0.5})
    texts = Reader(write(about=about, command="visionbus evaluate tiny.onnx 'my photos' --report")).texts
    assert "visionbus evaluate tiny.onnx 'my photos' --report" in texts["repeat"]
    assert "visionbus train shapes -o tiny.onnx" in texts["repeat"]
    assert re.search(r"One image at a time [\d,]+ µs an image, [\d,]+ images/s", texts["speed"])
    assert f"{about.size / 1e3:.1f} kB" in texts["speed"]
    assert "seed 1" in texts["card"]
    assert "uint8 [n, 4, 6, 1]" in texts["card"]
    assert 'no "none of these"' in texts["card"]


def test_sheet_of_each_class_has_its_counts_and_pictures(write):
    page = Reader(write(images=60))
    assert page.texts["data"].count("20 train · 20 test") == 3
    from_sheets = [one["title"] for tag, one in page.elements if tag == "img" and "/" in one.get("title", "")]
    assert len(from_sheets) >= 3 * 12


def test_hostile_names_are_text_and_nothing_else(write, model, hostile):
    leak = Leak(tuple(Place(part, name, name) for part in ("train", "test") for name in hostile))
    figures = {"history": HISTORY, "x": hostile[0], hostile[1]: {hostile[3]: list(hostile)}, "parameters": hostile[0]}
    about = model(hostile, name=hostile[0], figures=figures, provenance={"command": hostile[3], hostile[0]: hostile[1]})
    page = Reader(
        write(
            hostile,
            about=about,
            accuracy=0.5,
            skipped=tuple(Skipped(name, name) for name in (*hostile, "\udcff half")),
            leaks=(leak,),
            notes=hostile,
            command=hostile[0],
            note=hostile[1],
        )
    )
    allowed = {
        "class",
        "style",
        "id",
        "href",
        "src",
        "title",
        "alt",
        "content",
        "http-equiv",
        "name",
        "charset",
        "lang",
    }
    allowed |= {"scope", "role", "aria-label", "aria-hidden"}
    drawing = {"svg", "g", "line", "rect", "text", "polyline", "circle", "title"}
    for tag, attributes in page.elements:
        assert tag not in {"script", "iframe", "object", "embed", "link", "base", "form", "input"}
        assert tag in drawing or set(attributes) <= allowed, (tag, attributes)
        assert not attributes.get("src", "data:").startswith(("http", "//", "x"))
        assert attributes.get("src", "data:image/").startswith("data:image/")
        assert attributes.get("href", "#").startswith("#")
    text = " ".join(page.texts.values())
    for name in (
        hostile[0],
        hostile[1],
        "new\\nline\\tand\\rtab",
        hostile[3],
        hostile[4],
        "\\u202egnp.exe",
        hostile[7],
    ):
        assert name in text
    assert "\\udcff half" in text
    assert f"{'x' * 30}…{'x' * 29}" in page.texts["classes"]
    assert any("x" * 300 in attributes.get("title", "") for _, attributes in page.elements)


def test_page_forbids_scripts_and_the_network(write):
    (policy,) = [one["content"] for tag, one in Reader(write()).elements if "http-equiv" in one]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_a_thousand_classes_of_noise_stay_below_three_megabytes(write):
    names = [f"{'class with a long name ' * 10}{number}" for number in range(1200)]
    path = write(names, images=1200, accuracy=0.3, shape=(64, 64, 3))
    assert path.stat().st_size < 3_000_000
    texts = Reader(path).texts
    assert "200 classes with better figures are not listed" in texts["classes"]
    assert "200 classes are not shown" in texts["data"]


def test_report_that_fails_leaves_the_one_before(write, model, measure, tmp_path):
    path = write()
    before = path.read_bytes()
    data, measured = measure(CLASSES)
    broken = Measured(measured.dataset, measured.logits[:5], "test")
    with pytest.raises((ValueError, IndexError)):
        write_report(path, model(), data, broken, command="x")
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir() if one.suffix == ".html"] == ["report.html"]


def test_file_names_are_shown_as_numbers_where_there_are_none(write):
    assert re.search(r"labelled circle .?[\d.]+ % image \d+", Reader(write(names=False)).texts["mistakes"])


def test_same_report_but_for_its_time_and_speed_is_written_again(write):
    def frozen(path):
        return re.sub(r"[\d,]+ (µs|images/s)|[\d,]+ µs</b>|\d\d:\d\d UTC", "", path.read_text(encoding="utf-8"))

    assert frozen(write()) == frozen(write())
