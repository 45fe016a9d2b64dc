"""Files of the PyTorch originals, and what they computed: in the folder that SPEECH_GOLDEN names."""
import os
from pathlib import Path

import numpy as np
import pytest

from utils.checkpoints.checkpoint import load_checkpoint
from utils.torch_weights.torch_file import read


def golden(name):
    """(path of a file of the golden folder, the arrays beside it); skips where there is none."""
    folder = os.environ.get("SPEECH_GOLDEN")
    if not folder:
        pytest.skip("SPEECH_GOLDEN names no folder of files of the originals")
    path = Path(folder, name)
    if not path.is_file():
        pytest.skip(f"{path}: no such file")
    return path, dict(np.load(path.with_name(name.split(".")[0] + ".npz")))


def take_over(program, form, path, run, *flags):
    """The checkpoint that import_torch.py (the module `program`) makes of a file."""
    program.main(["--format", form, str(path), "--output", str(run), *map(str, flags)])
    return run / "best.ckpt"


def give_back(program, form, checkpoint, path):
    """What the file holds that import_torch.py --export writes of a checkpoint."""
    program.main(["--export", "--format", form, str(checkpoint), "--output", str(path)])
    return read(path)


def assert_same_numbers(actual, expected):
    """To 1e-4 of the largest."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def assert_same_tensors(actual, expected):
    """Equal names, shapes, types and bits."""
    assert set(actual) == set(expected)
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype, name
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


def assert_round_trip(program, form, path, checkpoint, folder):
    """The file written of a checkpoint that was made of the file `path` is that file; and so for the checkpoint."""
    written, original = [content.get("state_dict", content) for content in (
        give_back(program, form, checkpoint, folder / "back.pt"), read(path))]
    front_end = {name for name in written.keys() - original.keys() if name.startswith("torchfbank.")}    # TaoRuijie's
    assert_same_tensors({name: value for name, value in written.items() if name not in front_end}, original)
    again = take_over(program, form, folder / "back.pt", folder / "again")
    first, second = [{name: value.asnumpy() for name, value in load_checkpoint(run)[0].items()}
                     for run in (checkpoint, again)]
    assert_same_tensors(second, first)
    ours, theirs = [(run.parent / "config.yaml").read_text().replace("/again", "/run") for run in (checkpoint, again)]
    assert theirs.replace(str(folder), "") == ours.replace(str(folder), "").replace(str(checkpoint.parent.parent), "")


def random_run(shapes, config, write_run, run, seed=0):
    """A run folder of random weights of the shapes of `config`'s network; returns its checkpoint."""
    generator = np.random.default_rng(seed)
    write_run(run, config, {name: generator.uniform(0.1, 1, shape).astype(np.float32)
                            for name, shape in shapes(config).items()}, {})
    return run / "best.ckpt"
