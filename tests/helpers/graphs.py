"""Networks of all kinds with what their graphs need: settings, inputs, and what Python computes of them."""
import dataclasses
import json

import mindspore as ms
import numpy as np
from mindspore import Tensor

import conv_tasnet.export
import conv_tasnet.import_torch
import conv_tasnet.postprocess
import conv_tasnet.preprocess
import deepspeech2.export
import deepspeech2.import_torch
import deepspeech2.postprocess
import deepspeech2.preprocess
import ecapatdnn.export
import ecapatdnn.import_torch
import ecapatdnn.postprocess
import ecapatdnn.preprocess
from conv_tasnet.src.config import Config as ConvTasNetConfig
from conv_tasnet.src.model import ConvTasNet, WholeStrides
from deepspeech2.src.config import Config as DeepSpeech2Config
from deepspeech2.src.features import BINS, spectrogram
from deepspeech2.src.model import DeepSpeech2
from deepspeech2.src.waveform import FromWaveform as DeepSpeech2FromWaveform
from ecapatdnn.src.config import Config as EcapaConfig
from ecapatdnn.src.features import FRONT_ENDS, filter_bank
from ecapatdnn.src.model import VARIANTS, EcapaTdnn
from ecapatdnn.src.waveform import FromWaveform as EcapaFromWaveform
from helpers.documents import ROOT
from utils.checkpoints.checkpoint import save_checkpoint
from utils.config import read_yaml, save_config
from utils.export.graph import Port

RATE = 16000


def small(config):
    """Sizes of the networks compared here; the layers and their order are the presets'."""
    sizes = {EcapaConfig: {"channels": 32, "mfa_channels": 48, "emb_size": 16},
             ConvTasNetConfig: {"N": 24, "B": 16, "H": 24, "Sc": 8, "X": 3, "R": 2},
             DeepSpeech2Config: {"conv_channels": 4, "hidden_size": 24, "hidden_layers": 3}}
    return dataclasses.replace(config, **sizes[type(config)])


def network_of(config):
    if isinstance(config, EcapaConfig):
        return EcapaTdnn(config.in_channels, config.channels, config.emb_size, config.mfa_channels, config.variant)
    return ConvTasNet(config) if isinstance(config, ConvTasNetConfig) else DeepSpeech2(config)


def randomised(model, generator):
    """Statistics and gains as after a training: those a network starts with hide what a runtime gets wrong."""
    for parameter in model.get_parameters():
        value = parameter.asnumpy()
        if "moving_variance" in parameter.name or "gamma" in parameter.name:
            parameter.set_data(Tensor(generator.uniform(0.5, 1.5, value.shape).astype(np.float32)))
        elif "moving_mean" in parameter.name or "beta" in parameter.name:
            parameter.set_data(Tensor(generator.normal(0, 0.3, value.shape).astype(np.float32)))
    return model.set_train(False)


def preset(path):
    """The values of a preset, whichever environment variables its paths take."""
    return CONFIGS[path.parent.parent.name](**read_yaml(CONFIGS[path.parent.parent.name], path))


PROGRAMS = {"ecapatdnn": ecapatdnn, "conv_tasnet": conv_tasnet, "deepspeech2": deepspeech2}
CONFIGS = {"ecapatdnn": EcapaConfig, "conv_tasnet": ConvTasNetConfig, "deepspeech2": DeepSpeech2Config}
PRESETS = {f"{path.parent.parent.name} {path.stem}": preset(path) for path in sorted(ROOT.glob("*/configs/*.yaml"))
           if path.stem != "speaker_id"}     # whose networks are not exported
VARIATIONS = {
    **{f"ecapatdnn {variant}": small(EcapaConfig(variant=variant)) for variant in VARIANTS},
    **{f"ecapatdnn waveform {name}": small(EcapaConfig(front_end=name, input="waveform")) for name in FRONT_ENDS},
    "conv_tasnet kaituoxu": small(ConvTasNetConfig(variant="kaituoxu")),
    "conv_tasnet causal": small(ConvTasNetConfig(causal=True, norm="cgLN", mask_nonlinear="softmax")),
    "conv_tasnet without skip": dataclasses.replace(small(ConvTasNetConfig(norm="BN", mask_nonlinear="sigmoid")), Sc=0),
    "deepspeech2 unidirectional": small(DeepSpeech2Config(bidirectional=False)),
    "deepspeech2 waveform": small(DeepSpeech2Config(input="waveform")),
}


def case(config, generator):
    """(network to export, its ports, {name: inputs}, function of the inputs that Python evaluates)."""
    if isinstance(config, ConvTasNetConfig):
        stride = config.L // 2
        model = randomised(network_of(config), generator)
        items = {str(n): [noise(generator, n * stride)] for n in (900, 450, 1200, shortest(config))}
        return WholeStrides(model), [Port("mixture", "float32", (1, None), 300 * stride)], items, python(model)
    model = randomised(network_of(config), generator)
    if config.input == "waveform":
        return waveform_case(config, model, generator)
    bins = 80 if isinstance(config, EcapaConfig) else BINS
    ports = [Port("features", "float32", (1, None, bins))]
    items = {str(n): [generator.standard_normal((1, n, bins)).astype(np.float32)] for n in (200, 131, 317, 64)}
    if isinstance(config, DeepSpeech2Config):
        ports.append(Port("frames", "int32", (1,)))
        for name, arrays in items.items():
            arrays.append(np.array([int(name) - int(name) % 9], np.int32))
    return model, ports, items, python(model)


def shortest(config):
    """Strides that the runtime takes: one frame more than the widest convolution has zeros on a side."""
    return (config.P - 1) * 2 ** (config.X - 1) // (1 if config.causal else 2) + 2


def waveform_case(config, model, generator):
    """Compared with the features that features.py computes of the same samples."""
    items = {str(n): [noise(generator, n)] for n in (RATE, 21001, 50320, 16401)}
    port = [Port("waveform", "float32", (1, None), RATE)]
    network = (EcapaFromWaveform(model, config.front_end, 80) if isinstance(config, EcapaConfig)
               else DeepSpeech2FromWaveform(model))
    return network, port, items, alone(config, model)


def alone(config, model):
    """The function of a recording, (1, n) or (1, n, bins), that the model without a length computes."""
    evaluate = python(model)

    def reference(x):
        if isinstance(config, ConvTasNetConfig):
            return evaluate(x)
        if config.input == "waveform":
            x = (filter_bank(x[0], config.front_end) if isinstance(config, EcapaConfig) else spectrogram(x[0]))[None]
        return evaluate(x) if isinstance(config, EcapaConfig) else evaluate(x, np.array(x.shape[1:2], np.int32))

    return reference


def python(model):
    """What the model gives, operator by operator: to compile a graph for every length takes long."""
    def evaluate(*arrays):
        ms.set_context(mode=ms.PYNATIVE_MODE)
        try:
            return model(*map(Tensor, arrays))
        finally:
            ms.set_context(mode=ms.GRAPH_MODE)
    return evaluate


GEARED = {
    **{f"ecapatdnn {variant}": small(EcapaConfig(variant=variant, gears="64,130,200")) for variant in VARIANTS},
    **{f"ecapatdnn waveform {name}": small(EcapaConfig(front_end=name, input="waveform", gears="81,101,181"))
       for name in FRONT_ENDS},
    "conv_tasnet": small(ConvTasNetConfig(gears="3200,6400,9600")),
    "conv_tasnet kaituoxu": small(ConvTasNetConfig(variant="kaituoxu", gears="3200,6400,9600")),
    "conv_tasnet causal": small(ConvTasNetConfig(causal=True, norm="cgLN", mask_nonlinear="softmax",
                                                 gears="3200,6400,9600")),
    "conv_tasnet BN": small(ConvTasNetConfig(norm="BN", gears="3200,6400,9600")),
    "deepspeech2": small(DeepSpeech2Config(gears="64,130,200")),
    "deepspeech2 unidirectional": small(DeepSpeech2Config(bidirectional=False, gears="64,130,200")),
    "deepspeech2 waveform": small(DeepSpeech2Config(input="waveform", gears="81,101,181")),
}


def exported(name, model, config, folder):
    """(graph of `model` that export.py writes with the settings of `config`, inputs.json) in `folder`."""
    save_checkpoint(folder / "best.ckpt", {parameter.name: parameter for parameter in model.get_parameters()})
    save_config(config, folder)
    graph = PROGRAMS[name.split()[0]].export.main(dataclasses.replace(config, model_path=str(folder / "best.ckpt")))
    return graph, json.loads((folder / "inputs.json").read_text())


def noise(generator, samples):
    return 0.1 * generator.standard_normal((1, samples)).astype(np.float32)
