"""Nothing that is loaded executes code, and nothing that is unpacked leaves its folder: hostile files of every kind.

Each of them would make the folder `executed` if its code were run.
"""
import ast
import io
import os
import pickle
import subprocess
import tarfile
import zipfile

import numpy as np
import pytest
import yaml
from helpers.documents import ROOT
from helpers.errors import refused

from deepspeech2.src.decoder import load_log_probs
from deepspeech2.src.download import unpack
from ecapatdnn.src.config import Config
from ecapatdnn.src.embedding_cache import EmbeddingCache
from utils.audio.survey import Stamp
from utils.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from utils.config import parse_config, parse_train_config
from utils.errors import ContentError, MismatchError, SettingError
from utils.torch_weights import torch_file
from utils.torch_weights.importer import read_file
from utils.torch_weights.networks import find_network
from utils.torch_weights.plain_pickle import Instance, Name


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def bomb(tmp_path):
    """A Bomb that is real, and at the end of the test has not gone off."""
    path = tmp_path / "executed"
    pickle.loads(pickle.dumps(Bomb(path)))
    path.rmdir()
    yield Bomb(path)
    assert not path.exists()


# ---- checkpoints, arrays, settings

def pickled(bomb):
    return pickle.dumps(bomb)


def torch_archive(bomb):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps({"state_dict": bomb}))
        file.writestr("archive/version", "3")
    return stream.getvalue()


def numpy_objects(bomb):
    stream = io.BytesIO()
    np.save(stream, np.array([bomb], object), allow_pickle=True)
    return stream.getvalue()


@pytest.mark.parametrize("make", [pickled, torch_archive, numpy_objects])
def test_a_checkpoint_is_never_unpickled(bomb, tmp_path, make):
    (tmp_path / "best.ckpt").write_bytes(make(bomb))
    with refused(ContentError, tmp_path / "best.ckpt", "checkpoint"):
        load_checkpoint(tmp_path / "best.ckpt")


def test_a_checkpoint_with_changed_fields_is_read_or_refused(bomb, tmp_path):
    """Whoever changes a file on purpose can leave the checksum out; then too there is a value or a ContentError."""
    import mindspore as ms

    path, bad = tmp_path / "best.ckpt", 0
    weights = {"w": ms.Parameter(ms.Tensor(np.ones((3, 4), np.float32)), name="w")}
    save_checkpoint(path, weights, note=repr(pickled(bomb)))
    data, generator = path.read_bytes()[:-17], np.random.default_rng(0)     # without the checksum at the end
    for _ in range(400):
        changed = bytearray(data)
        for place in generator.integers(len(data), size=2):
            changed[place] = generator.integers(256)
        path.write_bytes(bytes(changed))
        try:
            load_checkpoint(path)
        except ContentError:
            bad += 1
    assert bad > 100


@pytest.mark.parametrize("dims, kind, content", [
    ([1, 2], "Float32", bytes(4096)), ([], "Float32", bytes(4096)), ([0], "Float32", bytes(4096)),
    ([0, 7], "Float32", bytes(4096)), ([1024], "Int8", bytes(4096)), ([4096], "Float32", bytes(4096)),
    ([-1, -1024], "Float32", bytes(4096)), ([2 ** 62, 4], "Float32", b""), ([2 ** 31, 2 ** 33], "Float32", bytes(4096)),
    ([1024], "Float31", bytes(4096)), ([1024], "str", b"x" * 4095), ([1], "Float64", bytes(4))])
def test_a_parameter_of_another_size_than_its_shape_is_refused(tmp_path, dims, kind, content):
    """MindSpore's own reader would write behind the memory of the shape."""
    from mindspore.train.checkpoint_pb2 import Checkpoint

    checkpoint = Checkpoint()
    value = checkpoint.value.add()
    value.tag, value.tensor.tensor_type, value.tensor.tensor_content = "w", kind, content
    value.tensor.dims.extend(dims)
    (tmp_path / "best.ckpt").write_bytes(checkpoint.SerializeToString())
    with refused(ContentError, tmp_path / "best.ckpt", "checkpoint"):
        load_checkpoint(tmp_path / "best.ckpt")


def test_weights_of_others_with_changed_bytes_are_read_or_refused(tmp_path):
    """Of PyTorch's zip format and of safetensors: a value or a refusal in one line."""
    import safetensors.numpy

    weights = {"w": np.ones((3, 4), np.float32), "n": np.array([1, 2])}
    settings = Instance(Name("argparse", "Namespace"), (), {"a": [1, "b", None, 2.5], "c": {"d": (1, 2)}})
    torch_file.write(tmp_path / "a.pt", {"state_dict": weights, "args": settings, "more": [weights, settings]})
    with zipfile.ZipFile(tmp_path / "a.pt") as file:
        entries = {name: file.read(name) for name in file.namelist()}
    plain, generator, bad = safetensors.numpy.save(weights, {"a": "[1]"}), np.random.default_rng(0), 0
    for i in range(400):
        changed = bytearray(entries["a/data.pkl"] if i % 4 else plain)
        for place in generator.integers(len(changed), size=2):
            changed[place] = generator.integers(256)
        if i % 4:
            with zipfile.ZipFile(tmp_path / "b.pt", "w") as file:
                for name, content in (entries | {"a/data.pkl": bytes(changed)}).items():
                    file.writestr(name, content)
        else:
            (tmp_path / "b.pt").write_bytes(changed)
        try:
            find_network(read_file(str(tmp_path / "b.pt")), "w", "b.pt")
        except (ContentError, MismatchError) as error:
            assert str(error).isprintable()
            bad += 1
    assert bad > 100


def object_arrays(bomb, *names):
    stream = io.BytesIO()
    np.savez(stream, **{name: np.array([bomb], object) for name in names})
    return stream.getvalue()


def test_cached_embeddings_are_never_unpickled(bomb, tmp_path):
    (tmp_path / "best.ckpt").write_bytes(b"weights")
    cache = EmbeddingCache(tmp_path / "best.ckpt")
    cache.save("corpus", {b"a.wav": (Stamp(1, 2), np.ones((1, 2), np.float32))})
    for content in (object_arrays(bomb, "files", "embeddings", "stamps"), pickled(bomb), numpy_objects(bomb), b"",
                    object_arrays(bomb, "other")):
        cache.path("corpus").write_bytes(content)
        assert cache.load("corpus") == {}       # they are computed again


def test_log_probabilities_are_never_unpickled(bomb, tmp_path):
    for content in (object_arrays(bomb, "keys", "texts", "labels"), pickled(bomb), numpy_objects(bomb)):
        (tmp_path / "log_probs.npz").write_bytes(content)
        with refused(ContentError, tmp_path / "log_probs.npz", "log probabilities"):
            load_log_probs(tmp_path / "log_probs.npz")


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.mkdir [{path}]", "!!python/object/new:os.mkdir [[{path}]]",
                                 "!!python/name:os.mkdir", "!!python/module:os",
                                 "!!python/object/apply:subprocess.call [[mkdir, {path}]]"])
def test_settings_execute_nothing(bomb, tmp_path, tag):
    text = f"channels: {tag.format(path=bomb.path)}\n"
    (tmp_path / "config.yaml").write_text(text)
    with refused(ContentError, tmp_path / "config.yaml", "YAML", "constructor"):
        parse_config(Config, ["--config", str(tmp_path / "config.yaml")])
    with refused(ContentError, tmp_path / "config.yaml", "YAML"):
        parse_train_config(Config, ["--resume", str(tmp_path)])
    if "apply" in tag:      # the same text is a bomb where it is read without care
        yaml.unsafe_load(text)
        bomb.path.rmdir()


def test_settings_that_refer_to_themselves_are_refused_in_one_short_line(tmp_path):
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 40)]
    (tmp_path / "laughs.yaml").write_text("\n".join([*lines, "channels: *a39"]))
    (tmp_path / "more.yaml").write_text("channels: &a [*a, *a]")
    (tmp_path / "nested.yaml").write_text("\n".join(["crop:", "  &b0 [1]", "channels:"]
                                                    + [f"{' ' * i}- &b{i} [{', '.join([f'*b{i - 1}'] * 9)}]"
                                                       for i in range(1, 30)]))
    for name, kind, fact in (("laughs", SettingError, "a0"), ("more", SettingError, "channels"),
                             ("nested", ContentError, "YAML")):
        with refused(kind, tmp_path / f"{name}.yaml", fact) as error:
            parse_config(Config, ["--config", str(tmp_path / f"{name}.yaml")])
        assert len(str(error.value)) < 1000


# ---- archives

def member(name, kind=tarfile.REGTYPE, target="", content=b"corpus"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, len(content) if kind == tarfile.REGTYPE else 0
    info.mode = 0o6777
    return info, io.BytesIO(content)


HOSTILE = {
    "above": [member("../escaped")], "far above": [member("an4/../../escaped")],
    "absolute": [member("{outside}/escaped")],
    "symbolic link": [member("an4/link", tarfile.SYMTYPE, "{outside}")],
    "through a symbolic link": [member("an4/link", tarfile.SYMTYPE, "{outside}"), member("an4/link/escaped")],
    "relative symbolic link": [member("an4/link", tarfile.SYMTYPE, "../../outside"), member("an4/link/escaped")],
    "link to a link": [member("an4/a", tarfile.SYMTYPE, "b"), member("an4/b", tarfile.SYMTYPE, ".."),
                       member("an4/a/../../outside/escaped")],
    "link inside": [member("an4/link", tarfile.SYMTYPE, "wav")],
    "hard link": [member("an4/link", tarfile.LNKTYPE, "{outside}/secret")],
    "relative hard link": [member("an4/link", tarfile.LNKTYPE, "../outside/secret")],
    "character device": [member("an4/null", tarfile.CHRTYPE)], "block device": [member("an4/disk", tarfile.BLKTYPE)],
    "pipe": [member("an4/pipe", tarfile.FIFOTYPE)],
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_archive_does_not_leave_its_folder(tmp_path, kind):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        for info, content in [member("an4/wav/1.wav"), *HOSTILE[kind]]:
            info.name, info.linkname = (text.format(outside=outside) for text in (info.name, info.linkname))
            content.seek(0)
            tar.addfile(info, content)
    with refused(ContentError, tmp_path / "a.tar.gz"):
        unpack(str(tmp_path / "a.tar.gz"), str(tmp_path / "data"), "an4")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar.gz", "outside", "secret"]
    assert (outside / "secret").read_text() == "secret" and (outside / "secret").stat().st_nlink == 1


def test_an_archive_gives_no_rights(tmp_path):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.addfile(*member("an4/wav/1.wav"))
    unpack(str(tmp_path / "a.tar.gz"), str(tmp_path), "an4")
    assert (tmp_path / "an4/wav/1.wav").stat().st_mode & 0o7022 == 0      # no setuid, nobody else writes


# ---- our own sources

CALLS = {"eval", "exec", "compile", "os.system", "os.popen", "pickle.load", "pickle.loads", "pickle.Unpickler",
         "dill.load", "dill.loads", "joblib.load", "marshal.load", "marshal.loads", "shelve.open", "torch.load",
         "pandas.read_pickle", "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "yaml.UnsafeLoader",
         "yaml.Loader", "yaml.FullLoader", "shutil.unpack_archive", "numpy.core.multiarray.fromstring"}


def dangers(source):
    """What a module does that may execute what it loads: "line: call", by the full names of its imports."""
    tree, names = ast.parse(source), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name.split(".")[0]: alias.name if alias.asname else alias.name.split(".")[0]
                      for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)) and full_name(node, names) in CALLS:
            yield f"{node.lineno}: {full_name(node, names)}"
        if isinstance(node, ast.Call):
            given = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
            called = full_name(node.func, names)
            if given.get("allow_pickle") is True or called == "numpy.load" and given.get("allow_pickle") is not False:
                yield f"{node.lineno}: {called} without allow_pickle=False"
            if given.get("shell", False) is not False:
                yield f"{node.lineno}: {called} with a shell"
            if called.split(".")[-1] in ("extract", "extractall") and given.get("filter") != "data":
                yield f"{node.lineno}: {called} without filter='data'"


def full_name(node, names):
    """`numpy.load` of `np.load`, "" of what has no name; built-in functions have their own."""
    if isinstance(node, ast.Attribute):
        return f"{full_name(node.value, names)}.{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("source", [
    "import pickle\npickle.load(file)", "from pickle import loads as read\nread(data)",
    "import pickle as p\np.Unpickler",
    "import torch\ntorch.load(path)", "import yaml\nyaml.load(text, yaml.SafeLoader)", "eval(text)", "exec(text)",
    "from yaml import Loader\nLoader(text)", "import numpy as np\nnp.load(path, allow_pickle=True)",
    "import numpy\nnumpy.load(path)",
    "import subprocess\nsubprocess.run(command, shell=True)", "run(command, shell=flag)", "tar.extractall(folder)",
    "tar.extract(member, folder, filter='fully_trusted')", "import os\nos.system(command)", "map(eval, texts)"])
def test_the_search_finds(source):
    assert list(dangers(source))


@pytest.mark.parametrize("source", [
    "import yaml\nyaml.safe_load(text)", "model.eval()", "import re\nre.compile(pattern)",
    "tar.extract(a, filter='data')", "@functools.cache\ndef f(): pass",
    "import numpy as np\nwith np.load(path, allow_pickle=False) as data: pass", "import pickle\npickle.dumps(1)",
    "import subprocess\nsubprocess.run(command, shell=False)", "import json\njson.load(file)"])
def test_the_search_lets_pass(source):
    assert not list(dangers(source))


def test_our_sources_execute_nothing_they_load():
    """All but the tests, which make hostile files."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.py"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.split()
    sources = [path for path in listed if not path.startswith("tests/") and (ROOT / path).is_file()]
    calls = {f"{path}:{danger}" for path in sources for danger in dangers((ROOT / path).read_text(encoding="utf-8"))}
    assert len(sources) > 80 and not calls
