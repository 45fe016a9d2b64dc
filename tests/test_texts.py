"""Texts of other systems through every reader of them: taken as they are meant, or refused in one line."""
import ast
import gzip
import json
import os

import kenlm
import pytest
from helpers.errors import refused
from helpers.imports import sources

from conv_tasnet.src.config import Config as ConvConfig
from conv_tasnet.src.mixtures import Mixture, read_mixtures
from deepspeech2.src.corpora import an4_texts
from deepspeech2.src.manifest import Sample, read_samples, read_transcript
from deepspeech2.src.ngram import check_arpa, estimate, for_kenlm
from ecapatdnn.src.metric import read_trials
from utils.config import read_yaml
from utils.corpora.lists import read_train_list
from utils.errors import ContentError, NotFoundError
from utils.texts import open_lines, read_json, read_rows, read_text

MARK = "\ufeff"
# what a program makes of a text of lines that end with "\n": its bytes
WRITERS = {
    "Notepad": lambda text: (MARK + text).replace("\n", "\r\n").encode(),
    "Notepad, Unicode": lambda text: (MARK + text).replace("\n", "\r\n").encode("utf-16-le"),
    "PowerShell": lambda text: text.replace("\n", "\r\n").encode("utf-16"),
    "big endian": lambda text: (MARK + text).encode("utf-16-be"),
    "UTF-16 without a mark": lambda text: text.encode("utf-16-le"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "old Mac": lambda text: text.replace("\n", "\r").encode(),
    "no line end": lambda text: text.rstrip("\n").encode(),
    "blank lines": lambda text: f"{text}\n \n\n".encode(),
    "joined files": lambda text: "".join(MARK + line for line in text.splitlines(keepends=True)).encode(),
    "trailing blanks": lambda text: text.replace("\n", " \t\n").encode(),
    "gzip": lambda text: gzip.compress(text.encode()),
}


@pytest.fixture(params=WRITERS)
def written(tmp_path, request):
    """A function that writes a text as one of WRITERS does, and gives the path."""
    def write(text, name="text"):
        (tmp_path / name).write_bytes(WRITERS[request.param](text))
        return str(tmp_path / name)

    return write


def test_lists_are_those_that_were_meant(written):
    assert read_train_list(written("zoë a/1.wav\nbo b/2.wav\n"))[2].tolist() == [b"bo", "zoë".encode()]
    trials = read_trials(written("1 a/ä.wav a/2.wav\n0 a/ä.wav b/2.wav\n"))
    assert trials.target.tolist() == [True, False]
    assert trials.files.tolist() == [b"a/2.wav", "a/ä.wav".encode(), b"b/2.wav"]


def test_rows_and_json_are_those_that_were_meant(written):
    rows = read_rows(written('id,path\n"ä, 1",b.wav\n'), "rows")
    assert [(line, row) for line, row in rows if any(row)] == [(1, ["id", "path"]), (2, ["ä, 1", "b.wav"])]
    assert read_json(written('{"a":\n["ä", 1]}\n'), "JSON") == {"a": ["ä", 1]}
    assert read_text(written("ä\nb\n"), "text").split() == ["ä", "b"]


@pytest.mark.parametrize("lines", [
    ["id;path", "1;a, b.wav"], ["id\tpath", "1\ta, b.wav"], ["sep=;", "id;path", "1;a, b.wav"], ['"sep=\t"', "id\tpath",
    "1\ta, b.wav"], ["id,path", '1,"a, b.wav"'], ["", "id , path", "", ",", ' 1,"a, b.wav" ']])
def test_columns_of_excel(tmp_path, lines):
    (tmp_path / "a.csv").write_text("\n".join(lines))
    assert [row for _, row in read_rows(tmp_path / "a.csv", "rows")] == [["id", "path"], ["1", "a, b.wav"]]


@pytest.mark.parametrize("line", ["1 a\u3000 b", "1\ta\tb", "1\u00a0a\u00a0b", "1 \u00a0 a  b", "\u00a01 a b\u00a0"])
def test_columns_of_a_word_processor(tmp_path, line):
    (tmp_path / "trials").write_text(f"{line}\n0 a c\n")
    assert read_trials(tmp_path / "trials").files.tolist() == [b"a", b"b", b"c"]
    (tmp_path / "train").write_text(f"{line}\n0 c\n")
    names = read_train_list(tmp_path / "train")[2]
    assert names.tolist() == [b"0", b"1"]


def test_names_keep_their_spaces_and_their_bytes(tmp_path):
    (tmp_path / "l").write_bytes("張\u3000三 a b\u00a0c.wav\n".encode() + b"m\xfcller d\xe9.wav\n")
    paths, _, names = read_train_list(tmp_path / "l")
    assert names.tolist() == [b"m\xfcller", "張\u3000三".encode()] and paths.tolist()[0] == "a b\u00a0c.wav".encode()
    assert paths.tolist()[1] == b"d\xe9.wav"
    (tmp_path / "r").write_bytes(b"a,\xe9.wav\n")
    assert list(read_rows(tmp_path / "r", "rows")) == [(1, ["a", "\udce9.wav"])]


@pytest.mark.parametrize("content, facts", [
    (b"fine\ncaf\xe9\n", ["line 2", "UTF-8", "0xe9"]), (b"fine\nb\0c\n", ["line 2", "NUL"]),
    (b"fine\n" + "ab\n".encode("utf-16-le"), ["line 2", "NUL"]), (b"RIFF\x24\0\0\0WAVE", ["line 1", "NUL"]),
    (gzip.compress(b"fine\n" * 9, mtime=0)[:-9], ["cut"]), (b"\x1f\x8bnone", ["cut"]),
    (MARK.encode("utf-16-le") + b"ab\n", ["cut", "line 0"])])
def test_what_is_no_text_is_refused_with_its_line(tmp_path, content, facts):
    (tmp_path / "text").write_bytes(content)
    with refused(ContentError, tmp_path / "text", "one sentence", *facts):
        list(open_lines(tmp_path / "text", "one sentence per line"))


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", "\ufeff".encode("utf-16"), gzip.compress(b"", mtime=0)])
def test_an_empty_text_has_no_lines(tmp_path, content):
    (tmp_path / "text").write_bytes(content)
    assert read_text(tmp_path / "text", "text") == "" and list(read_rows(tmp_path / "text", "rows")) == []
    with refused(ContentError, tmp_path / "text", "JSON"):
        read_json(tmp_path / "text", "settings")


@pytest.mark.parametrize("text", ["[" * 100_000, "{'a': 1}", "1 2", '{"a"\u00a0: 1, }'])
def test_what_is_no_json_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with refused(ContentError, tmp_path / "a.json", "JSON", "settings"):
        read_json(tmp_path / "a.json", "settings")


def test_a_cell_without_end_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text('a,b\n"c,d\ne,f\n')
    with refused(ContentError, tmp_path / "a.csv", "line 2", "CSV"):
        list(read_rows(tmp_path / "a.csv", "rows"))


def test_a_text_from_a_pipe(tmp_path):
    read, write = os.pipe()
    os.write(write, WRITERS["Notepad"]("a\nb\n"))
    os.close(write)
    assert list(open_lines(f"/dev/fd/{read}", "text")) == ["a", "b"]


def test_no_text_is_named(tmp_path):
    for path in ("", tmp_path, tmp_path / "none"):
        with refused(NotFoundError, path or "no file given", "a list"):
            list(open_lines(path, "a list"))


def test_every_program_reads_what_was_meant(written, tmp_path):
    """A reader of each kind of text that users bring."""
    path = written("mixture_ID,mixture_path,source_1_path,source_2_path\nä,m.wav,1.wav,2.wav\n", "a.csv")
    mixtures = read_mixtures(path, "", ConvConfig(), check_files=False)
    assert mixtures[0] == Mixture("ä", "m.wav", ("1.wav", "2.wav"), (1.0, 1.0))
    assert read_samples(written("a.wav,ä.txt\n", "b.csv")) == [Sample(f"{tmp_path}/a.wav", f"{tmp_path}/ä.txt")]
    sample = {"wav_path": "a.wav", "transcript": "É"}
    text = json.dumps({"root_path": "", "samples": [sample]}, ensure_ascii=False)
    assert read_samples(written(text + "\n", "c.json"))[0].transcript == "É"
    assert read_transcript(Sample("a.wav", written("CAFÉ\n", "d.txt")), "m") == "CAFÉ"
    assert an4_texts(written("<s> ÉT </s> (id)\n", "e")) == {"id": " ÉT "}
    assert read_yaml(ConvConfig, written("train_dir: ä\nN: 8\n", "f.yaml")) == {"train_dir": "ä", "N": 8}
    arpa = written(estimate(["É B", "B É A", "A B"], 2), "g.arpa")
    with for_kenlm(arpa) as plain:
        assert set(check_arpa(arpa)) == {"É", "A", "B"} and kenlm.Model(str(plain)).score("É B") < -1


# ---- nobody else does it

# what no user writes: logs that grow, the programs' own sources, files of the kernel
OTHERS = {"utils/launching/watch.py", "utils/ascend_check/runs.py", "utils/ascend_check/stubs.py",
          "utils/cpu_ops/build.py", "utils/ascend_report.py", "benchmarks/runner_network.py",
          "benchmarks/runner_live.py", "benchmarks/scale.py", "benchmarks/onednn_cap.py"}
READERS = {"csv.reader", "csv.DictReader", "json.load", "np.loadtxt", "np.genfromtxt", "gzip.open", "codecs.open",
           "io.open", "yaml.safe_load", "yaml.load", "fileinput.input", "linecache.getline"}


def readings(tree):
    """Calls that read a text, such as {"open", "read_text", "csv.reader"}."""
    calls = set()
    for node in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = ast.unparse(node.func)
        if name == "open" or name.endswith(".open") and any(word.arg == "encoding" for word in node.keywords):
            place = 1 if name == "open" else 0      # other things have a method open, which takes no encoding
            modes = [*node.args[place:place + 1], *(word.value for word in node.keywords if word.arg == "mode")]
            mode = next((ast.literal_eval(mode) for mode in modes if isinstance(mode, ast.Constant)), "r")
            if not set(mode) & set("bwax"):
                calls.add("open")
        elif name in READERS or name.endswith(".read_text"):
            calls.add(name.split(".")[-1] if name.endswith(".read_text") else name)
    return calls


def test_every_way_of_reading_a_text_is_recognised():
    text = """
open(p); open(p, "r", encoding="utf-8"); p.open(encoding="utf-8"); p.read_text(); json.load(f); csv.reader(f)
open(p, "rb"); open(p, "w"); p.open("wb"); os.open(p, 0); read_text(p, ""); json.loads(t)
"""
    assert readings(ast.parse(text)) == {"open", "read_text", "json.load", "csv.reader"}


def test_nothing_else_opens_a_text_for_reading():
    calls_of = {str(path): readings(tree) for path, tree in sources().items()
                if path.parts[0] != "tests" and str(path) not in OTHERS | {"utils/texts.py"}}
    assert len(calls_of) > 80 and {path: calls for path, calls in calls_of.items() if calls} == {}
