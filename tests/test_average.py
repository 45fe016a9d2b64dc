"""utils/average.py: the mean of the last checkpoints of a run, or of several."""
import dataclasses

import numpy as np
from helpers.errors import refused
from mindspore import Tensor

from ecapatdnn.src.config import Config
from ecapatdnn.src.inference import load
from ecapatdnn.src.torch_layout import shapes
from utils import average
from utils.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from utils.config import load_config, save_config
from utils.errors import MismatchError, SettingError


def test_mean_of_the_last(tmp_path):
    """Of weights, statistics and scalars, in an order of numbers; the result is used like any checkpoint."""
    config = Config(channels=8, mfa_channels=12, emb_size=6)
    generator = np.random.default_rng(0)
    saved = [{name: generator.uniform(0.5, 1, shape).astype(np.float32) for name, shape in shapes(config).items()}
             | {"loss.margin": np.array(0.1 * epoch, np.float32)} for epoch in range(4)]
    save_config(config, tmp_path)
    for epoch, arrays in enumerate(saved, 8):
        save_checkpoint(tmp_path / "checkpoints" / f"epoch_{epoch:04d}.ckpt",
                        {name: Tensor(array) for name, array in arrays.items()}, threshold=0.3)
    path = average.main([str(tmp_path), "--num", "3"])
    weights, record = load_checkpoint(path)
    assert record == {"averaged": ["epoch_0009", "epoch_0010", "epoch_0011"]}
    assert set(weights) == set(saved[0])
    for name, value in weights.items():
        expected = np.mean([arrays[name].astype(np.float64) for arrays in saved[1:]], axis=0)
        np.testing.assert_allclose(value.asnumpy(), expected, rtol=1e-7, err_msg=name)
    config = dataclasses.replace(load_config(Config, path), model_path=str(path))
    assert load(config).network(Tensor(np.ones((1, 30, 80), np.float32))).shape == (1, 6)
    with refused(MismatchError, "num: 5", tmp_path / "checkpoints", "holds 4"):
        average.main([str(tmp_path), "--num", "5"])
    save_checkpoint(tmp_path / "checkpoints" / "epoch_0012.ckpt", {"other": Tensor(np.ones(3, np.float32))})
    with refused(MismatchError, "epoch_0012.ckpt", "epoch_0011.ckpt", "tensors"):
        average.main([str(tmp_path), "--num", "2"])


def test_mean_of_several_runs(tmp_path):
    """Each run's last count alike, though the runs are of different lengths."""
    for run, epochs in (("seed_1", 4), ("seed_2", 3)):
        for epoch in range(1, epochs + 1):
            value = 10 * epoch + (100 if run == "seed_2" else 0)
            save_checkpoint(tmp_path / run / "checkpoints" / f"epoch_{epoch:04d}.ckpt",
                            {"weight": Tensor(np.full(2, value, np.float32))})
    runs = [str(tmp_path / run) for run in ("seed_1", "seed_2")]
    path = average.main([*runs, "--num", "2", "--output", str(tmp_path / "seed_1" / "soup.ckpt")])
    weights, record = load_checkpoint(path)
    assert path == tmp_path / "seed_1" / "soup.ckpt"
    assert weights["weight"].asnumpy().tolist() == [80, 80]       # of 30, 40, 120, 130
    assert record == {"averaged": ["seed_1/epoch_0003", "seed_1/epoch_0004", "seed_2/epoch_0002", "seed_2/epoch_0003"]}
    with refused(MismatchError, "num: 4", tmp_path / "seed_2" / "checkpoints", "holds 3"):
        average.main([*runs, "--num", "4"])


def test_mean_with_weights(tmp_path):
    """A run's weight is that of its checkpoints together; a checkpoint of float16 makes the mean no coarser."""
    for epoch, value in ((1, 1.0), (2, 2.0), (3, 4.0)):
        save_checkpoint(tmp_path / "clean" / "checkpoints" / f"epoch_{epoch:04d}.ckpt",
                        {"weight": Tensor(np.full(2, value, np.float32))})
    save_checkpoint(tmp_path / "noisy" / "best.ckpt", {"weight": Tensor(np.full(2, 10, np.float16))})
    runs = [str(tmp_path / "noisy" / "best.ckpt"), str(tmp_path / "clean")]
    path = average.main([*runs, "--num", "2", "--weights", "1.4", "0.6"])
    weights, record = load_checkpoint(path)
    assert path == tmp_path / "noisy" / "average.ckpt"
    np.testing.assert_allclose(weights["weight"].asnumpy(), 0.7 * 10 + 0.3 * 3, rtol=1e-6)
    assert record["averaged"] == ["noisy/best", "clean/epoch_0002", "clean/epoch_0003"]
    assert record["weights"] == [1.4, 0.3, 0.3]
    path = average.main([*runs, "--num", "3"])
    assert load_checkpoint(path)[0]["weight"].asnumpy().tolist() == [4.25, 4.25]      # of 10, 1, 2, 4
    with refused(MismatchError, "--weights: found 1, expected 2"):
        average.main([*runs, "--weights", "0.5"])
    with refused(SettingError, "--weights", "0"):
        average.main([*runs, "--weights", "0", "1"])
