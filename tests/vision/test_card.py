from visionbus.vision.card import card
from visionbus.vision.onnx import OnnxModel, default_model


def test_shipped_card_is_that_of_the_shipped_model():
    assert default_model().with_suffix(".md").read_text(encoding="utf-8") == card(OnnxModel(default_model()))


def test_what_there_is_not_is_said_in_words(write_model, make_graph):
    figures = {"spread": None, "classes weighted": [], "seeds": [0, 1], "leaks": 0}
    text = card(OnnxModel(write_model(model=make_graph(2), classes=["a", "b"], figures=figures)))
    assert "- spread: none\n- classes weighted: none\n- seeds: 0, 1\n- leaks: 0\n" in text


def test_names_of_others_stay_one_cell_of_one_line_and_no_html(write_model, make_graph):
    names = ["a|b", "<b>c\n</b>", "d"]
    figures = {"per_class": {name: {"recall": 0.5} for name in names}, "history": [{"epoch": 1}], "note": "e\n# f"}
    text = card(OnnxModel(write_model(model=make_graph(3), classes=names, figures=figures)))
    assert "| a\\|b | 0.5 |" in text
    assert "| &lt;b>c\\n&lt;/b> | 0.5 |" in text
    assert "\n# f" not in text
    assert "<b>" not in text
    assert "history" not in text
