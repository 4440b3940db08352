"""Model files: ours run, others are refused with the cure."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from visionbus.vision import Input, ModelError, predict
from visionbus.vision.onnx import OnnxModel, default_model


def test_file_describes_itself(write_model):
    path = write_model()
    model = OnnxModel(path)
    assert model.name == "tiny"
    assert model.classes == ("dark", "bright")
    assert model.input == Input(4, 6, "L")
    assert model.figures == {"accuracy": 0.5}
    assert model.provenance == {"seed": 1}
    assert model.version == hashlib.sha256(path.read_bytes()).hexdigest()[:12]


@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 128, 200])
def test_batch_of_any_size_gives_the_logits_of_its_images_alone(write_model, size):
    model = OnnxModel(write_model())
    batch = np.random.default_rng(0).integers(0, 256, (size, 4, 6, 1), dtype=np.uint8)
    logits = model.logits(batch)
    assert logits.dtype == np.float32
    assert logits.shape == (size, 2)
    assert np.allclose(logits[-1], model.logits(batch[-1:])[0])
    assert np.allclose(logits[:, 1], batch.reshape(size, -1).mean(axis=1), rtol=1e-5)


def test_predictions_name_the_class(write_model):
    model = OnnxModel(write_model())
    dark, bright = np.zeros((4, 6, 1), np.uint8), np.full((4, 6, 1), 200, np.uint8)
    assert [found.label for found in predict(model, np.stack([bright, dark]))] == ["bright", "dark"]


def test_warm_model_answers_as_a_cold_one(write_model):
    model = OnnxModel(write_model(), threads=2)
    batch = np.full((3, 4, 6, 1), 7, dtype=np.uint8)
    cold = model.logits(batch)
    model.warm_up()
    assert (model.logits(batch) == cold).all()


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"cannot read the model .*gone.onnx"):
        OnnxModel(tmp_path / "gone.onnx")


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 100, b"\x80\x04\x95" + b"x" * 50])
def test_file_that_is_no_onnx_is_refused(tmp_path, content):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.onnx is not an ONNX model"):
        OnnxModel(tmp_path / "model.onnx")


def test_truncated_file_is_refused_wherever_it_is_cut(write_model):
    path = write_model()
    content = path.read_bytes()
    for cut in range(len(content)):
        path.write_bytes(content[:cut])
        with pytest.raises(ModelError):
            OnnxModel(path)


def test_model_without_our_metadata_is_refused(write_model):
    with pytest.raises(ModelError, match=r"has no metadata visionbus.format: make it with `visionbus train`"):
        OnnxModel(write_model(format=None))


def test_newer_format_is_refused(write_model):
    with pytest.raises(ModelError, match="it has format 2, but this visionbus reads 1: upgrade visionbus"):
        OnnxModel(write_model(format=2))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "1"},
        {"format": True},
        {"format": 1.0},
        {"format": 0},
        {"format": -5},
        {"name": ""},
        {"name": 3},
        {"name": "half a pair \ud800"},
        {"classes": ["dark", "half a pair \udfff"]},
        {"classes": ["", "bright"]},
        {"classes": []},
        {"classes": "dark"},
        {"classes": [1, 2]},
        {"classes": ["same", "same"]},
        {"input": {"height": 4}},
        {"input": {"height": -4, "width": 6, "mode": "L", "fit": "stretch", "filter": "bilinear"}},
        {"input": None},
        {"figures": 3},
        {"provenance": []},
    ],
)
def test_damaged_metadata_is_refused(write_model, changes):
    with pytest.raises(ModelError, match="is not a model for visionbus"):
        OnnxModel(write_model(**changes))


def test_metadata_of_too_many_levels_is_refused(write_model, make_graph):
    graph = make_graph()
    graph.metadata_props.add(key="visionbus.figures", value="[" * 100_000)
    with pytest.raises(ModelError, match=r"visionbus.figures is not JSON"):
        OnnxModel(write_model(model=graph, figures=None))


@pytest.mark.parametrize("place", [b'"tiny"', b"images", b"weights"])
def test_damaged_text_is_refused_and_nothing_is_printed(write_model, place, capfd):
    path = write_model()
    content = path.read_bytes()
    assert place in content
    path.write_bytes(content.replace(place, place[:2] + b"\xff" + place[3:], 1))
    with pytest.raises(ModelError, match=r"tiny\.onnx is .*again"):
        OnnxModel(path)
    assert capfd.readouterr().out == ""


def test_what_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    for path in (tmp_path / "pipe.onnx", Path("/dev/zero")):
        with pytest.raises(ModelError, match="not a regular file"):
            OnnxModel(path)


def test_wrong_class_count_is_refused(write_model, make_graph):
    with pytest.raises(ModelError, match="names 2 classes, but its logits have the shape"):
        OnnxModel(write_model(model=make_graph(3)))


@pytest.mark.parametrize(
    "odd",
    [
        {"kind": TensorProto.FLOAT},
        {"images": "pixels"},
        {"logits": "scores"},
        {"shape": ("n", 6, 4, 1)},
        {"shape": (1, 4, 6, 1)},
    ],
)
def test_graph_that_is_not_as_its_metadata_says_is_refused(write_model, make_graph, odd):
    with pytest.raises(ModelError, match="export it again"):
        OnnxModel(write_model(model=make_graph(**odd)))


def test_shipped_model_is_found_and_fits_its_limits():
    path = default_model()
    model = OnnxModel(path)
    assert path.stat().st_size <= 1_500_000
    assert model.name == "fashion-mnist"
    assert model.input == Input(28, 28, "L")
    assert len(model.classes) == 10
    assert model.figures["test"]["accuracy"] >= 0.93


def test_vision_alone_imports_neither_torch_nor_onnx_runtime():
    code = "import sys, visionbus.vision; print([m for m in ('torch', 'onnxruntime', 'onnx') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_running_a_model_needs_neither_torch_nor_onnx():
    code = "import sys, visionbus.vision.onnx; print([m for m in ('torch', 'onnx') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_memory_stays_flat_over_batches_of_all_sizes():
    code = """if True:
        import numpy as np, psutil
        from visionbus.vision.onnx import OnnxModel, default_model
        model, process = OnnxModel(default_model()), psutil.Process()
        images, sizes = np.zeros((256, 28, 28, 1), np.uint8), np.random.default_rng(0).integers(1, 257, 80)
        model.warm_up()
        before = process.memory_info().rss
        for size in sizes:
            model.logits(images[:size])
        print((process.memory_info().rss - before) / 2**20)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 6  # MB; whole batches take 40


@pytest.mark.slow
def test_onnx_runtime_keeps_no_telemetry(tmp_path):
    code = "from visionbus.vision.onnx import OnnxModel, default_model; OnnxModel(default_model())"
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ended.stderr == ""
    assert list(tmp_path.rglob("*")) == []
