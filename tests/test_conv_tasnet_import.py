"""Weights of asteroid's and kaituoxu's Conv-TasNet in ours, and back."""
import dataclasses
import json

import numpy as np
import pytest
from helpers.errors import refused
from helpers.originals import (
    assert_round_trip,
    assert_same_numbers,
    assert_same_tensors,
    give_back,
    golden,
    random_run,
    take_over,
)
from mindspore import Tensor

from conv_tasnet import import_torch
from conv_tasnet.src.config import Config
from conv_tasnet.src.model import ConvTasNet
from conv_tasnet.src.torch_layout import shapes
from utils.checkpoints.checkpoint import load_checkpoint, load_model
from utils.config import load_config
from utils.errors import ContentError, MismatchError, SettingError
from utils.torch_weights.importer import write_run
from utils.torch_weights.plain_pickle import Instance, Name
from utils.torch_weights.torch_file import read, write

SMALL = {"N": 12, "L": 8, "B": 6, "H": 10, "Sc": 4, "X": 2, "R": 2}
CASES = {
    "asteroid": ("asteroid", {}),
    "asteroid causal": ("asteroid", {"causal": True, "norm": "cgLN", "mask_nonlinear": "sigmoid", "P": 4}),
    "asteroid BN": ("asteroid", {"norm": "BN", "Sc": 0, "C": 3, "sample_rate": 16000}),
    "kaituoxu": ("kaituoxu", {"variant": "kaituoxu", "Sc": 0}),
    "kaituoxu causal": ("kaituoxu", {"variant": "kaituoxu", "Sc": 0, "causal": True, "norm": "cLN"}),
    "kaituoxu BN": ("kaituoxu", {"variant": "kaituoxu", "Sc": 0, "norm": "BN", "mask_nonlinear": "softmax"}),
}


def our_run(tmp_path, **settings):
    """The checkpoint of a run folder of random weights."""
    config = Config(**(SMALL | settings), ckpt_save_dir=str(tmp_path / "run"))
    return random_run(shapes, config, write_run, tmp_path / "run")


@pytest.mark.parametrize("name", ["asteroid_conv_tasnet.serialized.pt", "asteroid_conv_tasnet_causal.serialized.pt",
                                  "kaituoxu_conv_tasnet.pt"])
def test_separation_equals_the_original(name, tmp_path):
    path, arrays = golden(name)
    checkpoint = take_over(import_torch, name.split("_")[0], path, tmp_path / "run")
    config = load_config(Config, checkpoint)
    assert (config.causal, config.norm) == ((True, "cgLN") if "causal" in name else (False, "gLN"))
    model = ConvTasNet(config).set_train(False)
    load_model(checkpoint, model)
    assert_same_numbers(model(Tensor(arrays["mixture"])).asnumpy(), arrays["sources"])
    assert_round_trip(import_torch, name.split("_")[0], path, checkpoint, tmp_path)


@pytest.mark.parametrize("name", ["asteroid_conv_tasnet", "asteroid_conv_tasnet_causal"])
def test_state_dict_alone_with_the_hyper_parameters_of_its_original(name, tmp_path):
    """Gives the run folder that what asteroid publishes gives."""
    whole, plain = golden(f"{name}.serialized.pt")[0], golden(f"{name}.pt")[0]
    expected = take_over(import_torch, "asteroid", whole, tmp_path / "whole")
    found = take_over(import_torch, "asteroid", plain, tmp_path / "plain", "--hyper_parameters",
                      plain.with_suffix(".json"))
    assert load_config(Config, found).__dict__ | {"ckpt_save_dir": ""} == (
        load_config(Config, expected).__dict__ | {"ckpt_save_dir": ""})
    with refused(ContentError, plain, "8 blocks", "--X"):
        take_over(import_torch, "asteroid", plain, tmp_path / "refused")


@pytest.mark.parametrize("name", CASES)
def test_export_and_import_are_inverse(name, tmp_path):
    form, settings = CASES[name]
    checkpoint = our_run(tmp_path, **settings)
    give_back(import_torch, form, checkpoint, tmp_path / "theirs.pt")
    assert_round_trip(import_torch, form, tmp_path / "theirs.pt", checkpoint, tmp_path)


def test_what_a_file_does_not_tell_is_said_or_asked_for(tmp_path, capsys):
    """A flag, a JSON of asteroid's names, or a guess that is printed."""
    content = give_back(import_torch, "asteroid", our_run(tmp_path), tmp_path / "theirs.pt")
    lightning = {f"model.{name}": value for name, value in content["state_dict"].items()}
    write(tmp_path / "plain.ckpt", {"epoch": 3, "state_dict": lightning})
    capsys.readouterr()
    checkpoint = take_over(import_torch, "asteroid", tmp_path / "plain.ckpt", tmp_path / "a", "--X", 2,
                           "--mask_nonlinear", "sigmoid")
    config = load_config(Config, checkpoint)
    assert (config.X, config.R, config.mask_nonlinear, config.norm) == (2, 2, "sigmoid", "gLN")
    assert "does not state and was taken to have --norm gLN --sample_rate 8000; give" in capsys.readouterr().out
    (tmp_path / "conf.yml").write_text(json.dumps({"masknet": {"n_blocks": 2, "n_repeats": 2, "mask_act": "softmax"},
                                                   "data": {"sample_rate": 16000}, "filterbank": {"stride": 4}}))
    checkpoint = take_over(import_torch, "asteroid", tmp_path / "plain.ckpt", tmp_path / "b", "--hyper_parameters",
                           tmp_path / "conf.yml")
    config = load_config(Config, checkpoint)
    assert (config.X, config.R, config.mask_nonlinear, config.sample_rate) == (2, 2, "softmax", 16000)


def test_configuration_of_a_recipe_is_used(tmp_path, capsys):
    """Of a Lightning checkpoint: training_config, or hyper_parameters with its names joined; of a published file."""
    checkpoint = our_run(tmp_path, mask_nonlinear="sigmoid", sample_rate=16000, causal=True, norm="cLN")
    content = give_back(import_torch, "asteroid", checkpoint, tmp_path / "theirs.pt")
    state = {f"model.{name}": value for name, value in content["state_dict"].items()}
    recipe = {"masknet": {"n_blocks": 2, "mask_act": "sigmoid"}, "data": {"sample_rate": 16000.0, "n_src": 2},
              "filterbank": {"stride": 4}, "main_args": {"help": None}}
    flat = {f"{section}_{name}": value for section, values in recipe.items() for name, value in values.items()}
    for name, beside in (("training_config", recipe), ("hyper_parameters", flat),
                         ("infos", {"training_config": recipe})):
        write(tmp_path / f"{name}.ckpt", {"state_dict": state, name: beside})
        config = load_config(Config, take_over(import_torch, "asteroid", tmp_path / f"{name}.ckpt", tmp_path / name))
        assert (config.X, config.R, config.mask_nonlinear, config.sample_rate) == (2, 2, "sigmoid", 16000)
        assert config.norm == "cLN"     # as asteroid's class takes a causal network
    assert "sample_rate" not in capsys.readouterr().out
    write(tmp_path / "other.ckpt", {"state_dict": state, "training_config": recipe | {"filterbank": {"stride": 2}}})
    with refused(MismatchError, "other.ckpt", "stride", 2, 4):
        take_over(import_torch, "asteroid", tmp_path / "other.ckpt", tmp_path / "refused")
    with refused(MismatchError, "training_config.ckpt", "4 blocks", 3):
        take_over(import_torch, "asteroid", tmp_path / "training_config.ckpt", tmp_path / "refused", "--X", 3)


def test_causal_package_of_kaituoxu_is_normalised_frame_by_frame(tmp_path):
    """Without a word on it; a causal one with the norm over a whole mixture is no network of ours."""
    checkpoint = our_run(tmp_path, variant="kaituoxu", Sc=0, causal=True, norm="cLN")
    content = give_back(import_torch, "kaituoxu", checkpoint, tmp_path / "theirs.pt")
    write(tmp_path / "alone.pt", {f"module.{name}": value for name, value in content["state_dict"].items()})
    config = load_config(Config, take_over(import_torch, "kaituoxu", tmp_path / "alone.pt", tmp_path / "alone"))
    assert (config.causal, config.norm) == (True, "cLN")
    args = Instance(Name("argparse", "Namespace"), (), {"norm_type": "cLN", "sample_rate": 16000})
    write(tmp_path / "args.pt", {"model": content["state_dict"], "args": args})
    config = load_config(Config, take_over(import_torch, "kaituoxu", tmp_path / "args.pt", tmp_path / "args"))
    assert (config.norm, config.sample_rate) == ("cLN", 16000)
    write(tmp_path / "global.pt", content | {"norm_type": "gLN", "causal": 1})
    with refused(MismatchError, "global.pt", "norm_type", "'gLN'", "causal", "'cLN'"):
        take_over(import_torch, "kaituoxu", tmp_path / "global.pt", tmp_path / "refused")


@pytest.mark.parametrize("form", ["asteroid", "kaituoxu"])
def test_safetensors_in_and_out(form, tmp_path):
    """With the settings beside the weights."""
    settings = {"norm": "cLN", "causal": True} | ({"variant": "kaituoxu", "Sc": 0} if form == "kaituoxu" else {})
    checkpoint = our_run(tmp_path, **settings)
    import_torch.main(["--export", "--format", form, str(checkpoint), "--output", str(tmp_path / "a.safetensors")])
    again = take_over(import_torch, form, tmp_path / "a.safetensors", tmp_path / "again")
    ours, back = load_config(Config, checkpoint), load_config(Config, again)
    assert ours == dataclasses.replace(back, ckpt_save_dir=ours.ckpt_save_dir)
    expected, found = load_checkpoint(checkpoint)[0], load_checkpoint(again)[0]
    assert_same_tensors(*({name: value.asnumpy() for name, value in part.items()} for part in (found, expected)))


def test_the_other_direction_is_named(tmp_path):
    """A checkpoint of ours without --export, a file of PyTorch's with it."""
    checkpoint = our_run(tmp_path)
    with refused(MismatchError, checkpoint, "MindSpore", "--export"):
        take_over(import_torch, "asteroid", checkpoint, tmp_path / "refused")
    write(tmp_path / "a.pt", {"w": np.ones(1)})
    with refused(MismatchError, "a.pt", "PyTorch", "--export"):
        give_back(import_torch, "asteroid", tmp_path / "a.pt", tmp_path / "refused")


def test_what_does_not_fit_is_named(tmp_path):
    content = give_back(import_torch, "asteroid", our_run(tmp_path), tmp_path / "theirs.pt")
    arguments, state = content["model_args"], content["state_dict"]
    for change, kind, facts in (
            ({"model_args": arguments | {"stride": 2}}, MismatchError, ["bad.pt", "stride", 2, 4]),
            ({"model_args": arguments | {"fb_name": "stft"}}, MismatchError, ["bad.pt", "fb_name", "'stft'", "'free'"]),
            ({"model_args": arguments | {"n_repeats": 3}}, MismatchError, ["bad.pt", "n_repeats", 3, 2]),
            ({"model_args": arguments | {"norm_type": "fgLN"}}, MismatchError, ["norm_type", "'fgLN'", "'gLN'"]),
            ({"model_args": arguments | {"sample_rate": "8k"}}, ContentError, ["bad.pt", "sample_rate", "'8k'"]),
            ({"model_args": arguments | {"mask_act": "tanh"}}, SettingError, ["mask_nonlinear", "'tanh'", "relu"]),
            ({"state_dict": {name: value for name, value in state.items() if "TCN.3.res" not in name}},
             MismatchError, ["bad.pt", "masker.TCN.3.res_conv.weight", "missing", (6, 10, 1)]),
            ({"state_dict": state | {"masker.consistency.weight": np.ones((2, 6), np.float32)}},
             MismatchError, ["bad.pt", "masker.consistency.weight"]),
            ({"state_dict": state | {"decoder.filterbank._filters": np.ones((12, 1, 9), np.float32)}},
             MismatchError, ["bad.pt", "decoder.filterbank._filters", (12, 1, 9), (12, 1, 8)])):
        write(tmp_path / "bad.pt", content | change)
        with refused(kind, *facts):
            take_over(import_torch, "asteroid", tmp_path / "bad.pt", tmp_path / "refused")
    with refused(MismatchError, "theirs.pt", "encoder.conv1d_U.weight", "missing"):
        take_over(import_torch, "kaituoxu", tmp_path / "theirs.pt", tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_network_with_skips_is_no_package_of_kaituoxu(tmp_path):
    checkpoint = our_run(tmp_path, variant="kaituoxu")
    with refused(SettingError, "Sc", 4, 0):
        give_back(import_torch, "kaituoxu", checkpoint, tmp_path / "theirs.pt")
    assert not (tmp_path / "theirs.pt").exists()


def test_package_of_kaituoxu_tells_its_letters(tmp_path):
    content = give_back(import_torch, "kaituoxu", our_run(tmp_path, variant="kaituoxu", Sc=0), tmp_path / "theirs.pt")
    assert {name: content[name] for name in "NLBHPXRC"} == {
        name: value for name, value in (SMALL | {"P": 3, "C": 2}).items() if name != "Sc"}
    assert read(tmp_path / "theirs.pt")["state_dict"]["decoder.basis_signals.weight"].shape == (8, 12)
