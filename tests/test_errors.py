"""How each kind of error reads, through the programs: thing: found, expected; remedy. Elsewhere tests hold kinds."""
import numpy as np
import pytest
import soundfile
from helpers.errors import assert_named, assert_refusal, refused
from helpers.programs import started

from utils.audio.audio_file import AudioError
from utils.errors import (
    ContentError,
    MismatchError,
    NotFoundError,
    OutputError,
    RunError,
    SettingError,
    UnsupportedError,
    UserError,
)

WORDING = {
    NotFoundError: ("ecapatdnn/prepare.py --corpus voxceleb --data_folder {here}/none --output_folder {here}",
                    "{here}/none: no such folder, expected the corpus; correct --data_folder"),
    ContentError: ("conv_tasnet/train.py --config {here}/list.yaml",
                   "{here}/list.yaml: found list, expected lines of `key: value`"),
    AudioError: ("deepspeech2/infer.py {here}/silent.wav",
                 "{here}/silent.wav: silent, no sample above 1e-05; leave the file out"),
    SettingError: ("conv_tasnet/prepare.py --corpus librimix --data_folder {here} --output_folder {here} "
                   "--task mix_bot",
                   "task: found 'mix_bot', expected one of mix_clean, mix_both (did you mean mix_both?)"),
    MismatchError: ("utils/average.py {here} --num 5",
                    "num: 5 checkpoints asked for, but {here}/checkpoints holds 0; give fewer, or train with a larger "
                    "--keep_checkpoint_max"),
    OutputError: ("conv_tasnet/import_torch.py {here}/a.pth --format asteroid --output {here}",
                  "output: {here} exists already; give the name of a folder to make"),
    UnsupportedError: ("ecapatdnn/export.py --checkpoint_path ecapatdnn/pretrained/best.ckpt --file_format AIR",
                       "file_format AIR: needs an Ascend to be written; MINDIR can be exported anywhere"),
    RunError: ("conv_tasnet/infer.py {here}/silent.wav {here}/none.wav --output_dir {here}",
               "2 of 2 files not separated, for the reasons above: {here}/silent.wav, {here}/none.wav"),
}


@pytest.mark.parametrize("kind", WORDING, ids=lambda kind: kind.__name__)
def test_wording_of_each_kind(tmp_path, monkeypatch, kind):
    """The last line of the program, whole, and exit code 2."""
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000), 16000)
    (tmp_path / "list.yaml").write_text("- 1\n- 2\n")
    raised = []
    monkeypatch.setattr(UserError, "__init__", lambda error, *texts: raised.append(type(error)))
    command, line = (text.format(here=tmp_path) for text in WORDING[kind])
    program, *arguments = command.split()
    code, output = started(*program.split("/"), *arguments)
    assert (code, output.splitlines()[-1], raised[-1]) == (2, f"error: {line}", kind), output


def test_no_kind_is_without_its_wording():
    assert {*UserError.__subclasses__(), AudioError} == set(WORDING)


@pytest.mark.parametrize("names, named", [
    (["a.wav", 8000], True), ([4], False), (["4.5"], True), (["wav: found 80"], False), (["Hz"], True)])
def test_facts_are_whole_words_of_the_message(names, named):
    """What `refused` of the other tests looks for: no part of another number or word, and in one line."""
    message = "a.wav: found 8000 Hz and 14 or 4.5, expected 16000"
    for text, holds in ((message, named), (f"{message}\n", named), (f"{message}\nmore", False), ("", False)):
        if holds:
            assert_named(text, names)
        else:
            with pytest.raises(AssertionError):
                assert_named(text, names)


def test_another_kind_is_no_refusal():
    with pytest.raises(Exception, match="a: empty"), refused(SettingError, "a"):
        raise ContentError("a: empty")
    with pytest.raises(AssertionError), refused(UserError, "a"):
        raise ContentError("a: empty")
    for code, output in ((0, "error: a"), (1, "error: a"), (2, "a"), (2, "error: a\nTraceback"), (2, "error: b")):
        with pytest.raises(AssertionError):
            assert_refusal(code, output, "a")
    assert_refusal(2, "line\nerror: b\nerror: a", "a")
