"""utils/torch_weights/networks.py and safetensors_file.py: a network is found in what programs wrap around it."""
import ast
import json
import re
import shlex

import numpy as np
import pytest
from helpers.errors import refused

from utils.errors import ContentError, MismatchError, OutputError
from utils.torch_weights import safetensors_file
from utils.torch_weights.networks import find_network
from utils.torch_weights.plain_pickle import Instance, Name

LANDMARK = "encoder.weight"
STATE = {"encoder.weight": np.ones((2, 3), np.float32), "decoder.bias": np.zeros(2, np.float32)}


def instance(path, *arguments, state=None):
    """As the reader gives an object of a class."""
    return Instance(Name(*path.rsplit(".", 1)), arguments, state)


def module(path, parameters=None, **modules):
    """As the reader gives a torch.nn.Module that was pickled whole."""
    return instance(path, state={"training": False, "_parameters": parameters or {}, "_buffers": {"none": None},
                                 "_modules": modules, "norm_type": "cLN"})


def under(prefix, state=STATE):
    return {prefix + name: value for name, value in state.items()}


def encoder(**tensors):
    return module("torch.nn.Linear", tensors)


WRAPPED = {
    "alone": STATE, "state_dict": {"epoch": 3, "state_dict": STATE}, "model": {"model": STATE, "epoch": 3},
    "model_state_dict": {"model_state_dict": STATE, "optimizer_state_dict": {"state": {0: {"step": np.ones(())}}}},
    "net": {"net": STATE, "loss": instance("torch.nn.MSELoss", state={})}, "weights": {"weights": STATE},
    "two levels": {"model": {"state_dict": STATE, "args": {}}, "optim": {"state_dict": {"state": {}}}},
    "DataParallel": under("module."), "within": under("speaker_encoder.module."),
    "Lightning": {"state_dict": under("model.")},
    "torch.compile": {"model": under("_orig_mod.")}, "compiled part": {"state_dict": {
        f"module.{name.replace('.', '._orig_mod.')}": value for name, value in STATE.items()}},
    "among other values": STATE | {"epoch": 3, "lr": 0.1, "args": instance("argparse.Namespace", state={"lr": 1})},
    "twice the same": {"model": STATE, "state_dict": STATE, "ema": dict(STATE)},
    "of numpy": {"model": {name: instance("numpy.core.multiarray._reconstruct", state=(
        1, value.shape, instance("numpy.dtype", "f4", False, True, state=(3, "<", None)), False, value.tobytes()))
        for name, value in STATE.items()}},
    "average of a callback": {"state_dict": STATE, "callbacks": {"EMA": {"state_dict": under("", {
        name: value + 1 for name, value in STATE.items()})}}},
    "a whole module": module("model.Net", encoder=encoder(weight=STATE["encoder.weight"]),
                             decoder=encoder(bias=STATE["decoder.bias"])),
    "a whole module in DataParallel": {"net": module("torch.nn.DataParallel", module=module(
        "model.Net", encoder=encoder(weight=STATE["encoder.weight"]), decoder=encoder(bias=STATE["decoder.bias"])))},
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrapped_networks_are_found(name):
    network = find_network(WRAPPED[name], LANDMARK, "a.pt")
    assert network.state.keys() == STATE.keys() and not network.others
    for tensor, value in STATE.items():
        np.testing.assert_array_equal(network.state[tensor], value)


def test_what_stands_beside_a_network():
    """Settings at every level, also the attributes of a whole module; tensors of a loss are named apart."""
    network = find_network({"lr": 1, "model": {"N": 3, "state_dict": under("net.") | {"loss.weight": np.ones(2)}}},
                           LANDMARK, "a.pt")
    assert (network.beside["lr"], network.beside["N"], list(network.others)) == (1, 3, ["loss.weight"])
    whole = find_network({"model": WRAPPED["a whole module"], "epoch": 3}, LANDMARK, "a.pt")
    assert (whole.beside["norm_type"], whole.beside["epoch"]) == ("cLN", 3)


def assert_command(error):
    """The printed command is a shell's, with a program of Python's that loads one file and saves another."""
    option, program, source, *_ = shlex.split(re.search(r"python -c .*", str(error))[0])[1:]
    assert option == "-c" and source
    calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Call)]
    assert calls[0] == "torch.save" and "torch.load" in calls


def test_what_is_not_unambiguous_is_told_how_to_be_saved():
    """The command selects a part, and does not leave out what PyTorch 2.6 asks for."""
    other = {name: value + 1 for name, value in STATE.items()}
    with refused(MismatchError, "a b.pt", "['model']", "['ema']", "'a b.pt'", "weights_only=False") as error:
        find_network({"model": STATE, "ema": other}, LANDMARK, "a b.pt")
    assert_command(error.value)
    with refused(MismatchError, "a.pt", "student.", "teacher."):
        find_network(under("student.") | under("teacher.", other), LANDMARK, "a.pt")
    for content, found in ((instance("mine.Net", 1), "mine.Net"), ([], "list"), ({}, "dict"), ({"a": {"b": 1}}, "a")):
        with refused(ContentError, "a.pt", "state dict", found, "weights_only=False") as error:
            find_network(content, LANDMARK, "a.pt")
        assert_command(error.value)
    for kind, found in (("torch._utils._rebuild_sparse_tensor", "sparse"),
                        ("torch._utils._rebuild_qtensor", "quantised"), ("torch.QInt8Storage", "quantised"),
                        ("torch.ComplexFloatStorage", "complex"),
                        ("torch._utils._rebuild_meta_tensor_no_storage", "meta"),
                        ("torchao.dtypes.AffineQuantizedTensor", "torchao.dtypes.AffineQuantizedTensor")):
        with refused(ContentError, "a.pt", "decoder.bias", found, "weights_only=False") as error:
            find_network({"model": STATE | {"decoder.bias": instance(kind)}}, LANDMARK, "a.pt")
        assert_command(error.value)


@pytest.mark.parametrize(("name", "whose"), [
    ("masker.net.0.intra_RNN.rnn.weight_ih_l0", "DPRNNTasNet"), ("sm.0.proj_1x1.conv.weight", "SuDORMRF"),
    ("masker.encoders.0.conv.weight", "DCCRNet"), ("encoder.filterbank.torch_window", "stft"),
    ("dual_mdl.0.intra_mdl.mdl.layers.0.norm1.weight", "SepFormer"),
    ("layer2.se_res2block.0.conv.weight", "--format wespeaker"),
    ("xvector.tdnn.linear.weight", "CAM++"), ("encoder.blocks.0.attn.query.weight", "Whisper"),
    ("wav2vec2.encoder.layers.0.attention.k_proj.weight", "wav2vec"), ("layer1.0.conv1.weight", "ResNet"),
    ("encoder.conv1d_U.weight", "--format kaituoxu"), ("conv.0.weight", "version 2")])
def test_networks_of_others_are_named(name, whose):
    """Also where they have the tensor that ours is found by."""
    for state in ({name: STATE["decoder.bias"]}, STATE | {name: STATE["decoder.bias"]}):
        if whose.startswith("--format") and LANDMARK in state:
            continue
        with refused(MismatchError, "a.pt", whose):
            find_network({"state_dict": state}, LANDMARK, "a.pt")


def test_shared_containers_are_seen_once():
    """Levels that refer to one below many times are no work of many times."""
    level = {"end": 1}
    for _ in range(60):
        level = {f"k{i}": level for i in range(60)}
    with refused(ContentError, "a.pt"):
        find_network({"a": level}, LANDMARK, "a.pt")
    level["again"] = level
    assert find_network({"a": level, "model": STATE}, LANDMARK, "a.pt").state.keys() == STATE.keys()


def test_safetensors_are_read_and_written(tmp_path):
    """Settings beside the weights are texts of JSON; bfloat16 is the upper half of float32."""
    path = tmp_path / "a.safetensors"
    state = STATE | {"count": np.array(3), "half": np.array([0.5], np.float16), "flag": np.array([True])}
    safetensors_file.write(path, {"state_dict": state, "model_args": {"norm": "gLN", "kinds": (1, 2)}, "name": "a"})
    assert safetensors_file.is_safetensors(path)
    content = safetensors_file.read(path)
    assert (content["model_args"], content["name"]) == ({"norm": "gLN", "kinds": [1, 2]}, "a")
    for name, value in state.items():
        assert content["state_dict"][name].dtype == value.dtype and content["state_dict"][name].shape == value.shape
        np.testing.assert_array_equal(content["state_dict"][name], value)
    upper = (np.array([1, -2.5], np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes()
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "b.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + upper)
    np.testing.assert_array_equal(safetensors_file.read(tmp_path / "b.safetensors")["state_dict"]["w"], [1, -2.5])
    with refused(OutputError, path / "below.safetensors"):
        safetensors_file.write(path / "below.safetensors", STATE)


def test_damaged_safetensors_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors_file.write(path, STATE)
    whole = path.read_bytes()
    header = json.dumps({"w": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}).encode()
    for content in (whole[:-3], whole + b"more", whole.replace(b'"shape":[2,3]', b'"shape":[9,9]'),
                    whole.replace(b"F32", b"X99"), len(header).to_bytes(8, "little") + header + b"ab"):
        path.write_bytes(content)
        assert safetensors_file.is_safetensors(path)
        with refused(ContentError, path):
            safetensors_file.read(path)
