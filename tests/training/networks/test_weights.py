import os

import pytest

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

from visionbus.training.errors import WeightsError  # noqa: E402 (torch may be missing)
from visionbus.training.networks.weights import matched, read  # noqa: E402 (the same)

pytestmark = pytest.mark.slow  # torch takes seconds to import


@pytest.fixture
def body():
    """Return a small network without a head."""
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))


def same(one, other):
    return set(one) == set(other) and all((one[name] == other[name]).all() for name in one)


def test_both_formats_give_the_same_tensors(body, tmp_path):
    weights = body.state_dict()
    safetensors.save_file(weights, tmp_path / "w.safetensors")
    torch.save(weights, tmp_path / "w.pth")
    torch.save(weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.save({"epoch": 3, "state_dict": weights}, tmp_path / "wrapped.pth")
    for name in ("w.safetensors", "w.pth", "old.pth", "wrapped.pth"):
        assert same(read(tmp_path / name), weights)


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("new", [True, False])
def test_pickle_that_would_run_a_command_is_refused_and_does_not_run_it(tmp_path, new):
    torch.save(
        {"weight": Malicious(f"touch {tmp_path}/ran")}, tmp_path / "evil.pth", _use_new_zipfile_serialization=new
    )
    with pytest.raises(WeightsError, match=r"evil\.pth is refused.*ask for the weights as \.safetensors"):
        read(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "evil.pth", weights_only=False)  # it would have
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("length", [0, 10, 300])
def test_damaged_file_is_refused(body, tmp_path, name, length):
    whole = tmp_path / name
    save = torch.save if whole.suffix == ".pth" else safetensors.save_file
    save(body.state_dict(), whole)
    whole.write_bytes(whole.read_bytes()[:length])
    with pytest.raises(WeightsError, match=r"w\.(pth|safetensors) is (no intact|refused)"):
        read(whole)


def test_file_of_something_else_than_weights_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(2), "epoch": 7}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="something else than a network's state_dict"):
        read(tmp_path / "w.pth")


def test_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        read(tmp_path / "none.pth")


def test_weights_are_taken_by_name_in_any_order_and_a_head_is_left_out(body):
    weights = dict(reversed(body.state_dict().items())) | {"head.weight": torch.zeros(9, 4)}
    wanted = {name: value for name, value in body.state_dict().items() if not name.endswith("tracked")}
    assert same(matched(weights, body.state_dict(), "w"), wanted)
    of_many_devices = {f"module.{name}": value for name, value in weights.items()}
    assert same(matched(of_many_devices, body.state_dict(), "w"), wanted)


def test_weights_with_other_names_are_taken_by_order(body):
    values = {name: value for name, value in body.state_dict().items() if not name.endswith("tracked")}
    other = {f"_{name.replace('0', 'conv').replace('1', 'bn')}": value for name, value in values.items()}
    assert same(matched(other, body.state_dict(), "w"), values)
    headed = other | {"_fc.weight": torch.zeros(9, 4), "_fc.bias": torch.zeros(9)}
    assert same(matched(headed, body.state_dict(), "w"), values)


def swapped(values):
    """Put the running mean and the running variance into each other's place: the shapes are the same."""
    names = list(values)
    names[4], names[5] = names[5], names[4]
    return {f"_{name}": values[name] for name in names}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda values: dict(list(values.items())[:-1]), "has 5 tensors, and the network 6"),
        (swapped, "stands where the network has"),
        (lambda values: values | {"0.weight": torch.zeros(4, 3, 5, 5)}, r"shape of 0\.weight is \[4, 3, 5, 5\]"),
        (lambda values: {f"_{name}": value[:2] for name, value in values.items()}, "shape of"),
    ],
)
def test_weights_of_another_network_are_refused(body, change, says):
    values = {name: value for name, value in body.state_dict().items() if not name.endswith("tracked")}
    with pytest.raises(WeightsError, match=says):
        matched(change(values), body.state_dict(), "w")
