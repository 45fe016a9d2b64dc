"""All documents: links lead somewhere, both languages say the same, every code block is run or says why not."""
import contextlib
import functools
import importlib
import io
import itertools
import re
import shlex

import pytest
from helpers.commands import flags_of, launcher_flags, recipe_flags, runner_flags
from helpers.documents import ROOT, defined_tests, table
from helpers.markdown import Block, anchors, blocks, documents, headings, links, prose, read
from helpers.programs import called

DOCUMENTS = documents()
MODELS = ("ecapatdnn", "conv_tasnet", "deepspeech2")
# in one language: lists of changes and of measurements, cards of checkpoints, what a program writes
ALONE = re.compile(r"CHANGELOG\.md|SECURITY\.md|benchmarks/README\.md|.*/(pretrained(/\w+)?|samples)/README\.md|"
                   r"docs/ascend_check_table\.md|\.github/.*")
PAIRS = [name for name in DOCUMENTS if not ALONE.fullmatch(name) and not name.endswith("_CN.md")]
SHELL = {name for name in DOCUMENTS if not name.startswith(("CHANGELOG", "benchmarks", ".github"))}
# what is neither ours nor checked
COMMON = {"cat", "cd", "cp", "curl", "export", "git", "grep", "ls", "make", "npu-smi", "pip", "printf", "source",
          "speech-app", "speech-eval", "speech-export", "speech-meeting", "speech-prepare", "speech-separate",
          "speech-train", "speech-transcribe", "speech-verify", "tar"}
BEST = r"--checkpoint_path (runs/\w+|pretrained)/best\.ckpt"
# The whole of a command in a block without a mark, as a pattern, and the test that runs the like of it; of three, that
# of each model. None needs no test.
RUN_BY = {
    r"source (\.\./)?\.venv/bin/activate|cd \S+|cat \S+( \| grep \w+)?|export PYTHONPATH=\$PWD|pip check": None,
    r"make [\w.-]+( [A-Z]+=\S+)?": ["markdown::test_make_targets_of_documents_exist"],
    r"pip install (-r )?\S+|pip uninstall --yes te topi hccl": [
        "ecapatdnn_documents::test_requirements_lead_to_those_installed"],
    r"bash ascend_report\.sh": ["ascend_report::test_report_of_this_cpu"],
    r"printf .* > hccn\.conf|python utils/hccl_tools\.py .*--hccn_conf .*": [
        "rank_table::test_eight_devices_are_written_as_documented"],
    r"python -m utils\.ascend_check .*": ["ascend_check::test_graphs_compile"],
    r"speech-(separate|transcribe|verify) .*": ["installed::test_installed_commands_work_in_another_folder"],
    r"(python who_said_what\.py|speech-meeting) .*": ["meeting::test_the_sample_says_who_said_what"],
    r"(python app/serve\.py|speech-app)( .*)?": ["app_browser::test_every_tab_answers_with_the_networks_that_ship"],
    r"curl .*": ["app::test_recordings_are_answered"],
    r"speech-(prepare|train|eval|export) ecapatdnn .*": [
        "installed::test_from_a_corpus_to_a_score_outside_the_repository"],
    r"python -m utils\.average runs/mini --num 3": ["average::test_mean_of_the_last"],
    r"python -m utils\.corpora\.simulate_rooms .*": [
        "simulate_rooms::test_the_list_has_every_place_of_every_room_and_a_seed_gives_the_same"],
    r"python -m utils\.cpu_ops": ["instructions::test_the_program_says_what_is_used_and_why"],
    r"python prepare\.py --corpus mini .*": [
        "ecapatdnn_prepare::test_mini",
        "conv_tasnet_prepare::test_mini",
        "deepspeech2_prepare::test_mini"],
    r"python prepare\.py --corpus (cnceleb|aishell) .*|python train\.py .*/aishell/.*|python eval\.py .*/aishell/.*": [
        "chinese_corpora::test_cnceleb_trains_on_its_dev_speakers_and_is_tested_on_its_trials",
        "chinese_corpora::test_aishell_has_speakers_to_verify_and_to_mix",
        "chinese_corpora::test_a_network_is_trained_and_scored_on_aishell"],
    r"python prepare\.py --corpus kaldi .*": [
        "kaldi::test_speakers_and_trials_are_listed_for_verification",
        "kaldi::test_speakers_are_listed_to_be_mixed",
        "kaldi::test_texts_are_listed_for_recognition"],
    r"python train\.py (--config configs/mini\.yaml( --resume auto)?|--resume runs/mini)|"
    r"bash scripts/run_standalone_train_ascend\.sh 0 --config configs/mini\.yaml": [
        "ecapatdnn_train::test_training_script_resumes_exactly_and_the_script_of_eval_scores_it",
        "conv_tasnet_train::test_killed_and_resumed_equals_uninterrupted",
        "deepspeech2_train::test_killed_and_resumed_equals_uninterrupted"],
    r"bash scripts/run_distribute_train_ascend\.sh \S+hccl_2p_01_127\.0\.0\.1\.json --config configs/mini\.yaml": [
        "ecapatdnn_train::test_two_processes_of_which_one_is_killed_and_resumed_equal_undisturbed_ones",
        "conv_tasnet_train::test_two_processes_equal_one_with_their_batches_together_and_resume_exactly",
        "deepspeech2_train::test_two_processes_killed_and_resumed_equal_undisturbed_ones"],
    rf"python eval\.py {BEST}( --as_norm true)?": [
        "ecapatdnn_train::test_evaluation_agrees_with_validation_and_uses_its_cache",
        "conv_tasnet_train::test_evaluation_agrees_with_validation_and_keeps_examples",
        "deepspeech2_train::test_evaluation_agrees_with_validation"],
    rf"python eval\.py {BEST} .* --calibrate true": ["ecapatdnn_train::test_a_calibration_is_kept_and_used"],
    rf"python export\.py {BEST} --file_format MINDIR( --length 0)?": [
        "ecapatdnn_train::test_exported_graph_equals_the_network",
        "conv_tasnet_train::test_exported_graph_equals_the_network",
        "deepspeech2_train::test_exported_graph_equals_the_network"],
    rf"python export\.py {BEST} --file_format ONNX( --length 800)?": [
        "ecapatdnn_train::test_onnx_equals_the_network_in_another_runtime",
        "conv_tasnet_train::test_onnx_equals_the_network_in_another_runtime",
        "deepspeech2_train::test_onnx_equals_the_network_in_another_runtime"],
    rf"python export\.py {BEST} --file_format MINDIR .*--runtime ascend .*": [
        "export_ascend::test_graphs_of_all_networks"],
    rf"python export\.py {BEST}( --file_format MINDIR)?( --length 0)? --runtime lite2\.0-cpu( --(gears|file_name) .*)?|"
    r"bash scripts/run_infer_310\.sh runs/mini/\w+\.mindir lists/mini/[\w.]+": [
        "ecapatdnn_train::test_cpp_runner_gives_the_scores_of_eval",
        "conv_tasnet_train::test_cpp_runner_gives_the_scores_of_eval",
        "deepspeech2_train::test_cpp_runner_gives_the_scores_of_eval"],
    r"\.\./ascend310_infer/build/main .*--enrol.*": [
        "runner_answers::test_each_recording_against_enrolled_voices"],
    r"python export\.py --checkpoint_path streaming .*--streaming true .*": [
        "runner_live::test_text_is_that_of_python_in_whatever_blocks_it_comes"],
    rf"python export\.py {BEST} .*--input waveform|(bash )?\.\./ascend310_infer/build(\.sh|/main .*)": [
        "ascend310_infer::test_runner_computes_what_python_does"],
    rf"python infer\.py (samples/.*|.*{BEST}.*)|python \w+/infer\.py --help": [
        "ecapatdnn_train::test_inference_verdict_and_embeddings",
        "conv_tasnet_infer::test_infer_is_a_program",
        "deepspeech2_train::test_infer_prints_text_and_word_times"],
    r"python import_torch\.py --export .*": [
        "ecapatdnn_import::test_export_and_import_are_inverse",
        "conv_tasnet_import::test_export_and_import_are_inverse",
        "deepspeech2_import::test_export_and_import_are_inverse"],
    r"python lm\.py .*|python eval\.py .*(lm\.json|--save_log_probs true)": [
        "deepspeech2_train::test_evaluation_by_the_script_with_a_tuned_language_model"],
}


def model_of(document):
    """The model whose folder the document is in, or ""."""
    return document.split("/")[0] if document.split("/")[0] in MODELS else ""


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files_and_headings(document):
    """In any of our documents, and by GitHub's names of headings."""
    text = read(document)
    for target in links(text):
        if re.match(r"https?:|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("document", sorted(name for name in SHELL if not name.startswith("docs/documents")))
def test_files_that_are_named_exist(document):
    """Of ours; a run folder's config.yaml is none, and docs/documents.md names those of others."""
    folder = (ROOT / document).parent
    for code in re.findall(r"`([\w./]+\.(?:py|sh|yaml|md|toml))`", prose(read(document))):
        if code in {"config.yaml", "NAME_CN.md"}:
            continue
        places = (folder, ROOT, *(ROOT / model / part for model in MODELS for part in ("", "src")))
        assert any((place / code).exists() for place in places), code


@pytest.mark.parametrize("document", PAIRS)
def test_both_languages_say_the_same(document):
    """As far as can be counted: headings, tables, code blocks, numbers in tables, links to other sites."""
    texts = english, chinese = [read(document), read(document.replace(".md", "_CN.md"))]
    assert [level for level, _ in headings(english)] == [level for level, _ in headings(chinese)]
    assert [block.plain() for block in blocks(document)] == \
        [block.plain() for block in blocks(document.replace(".md", "_CN.md"))]
    rows = [[line for line in prose(text).splitlines() if line.startswith("|")] for text in texts]
    assert len(rows[0]) == len(rows[1])
    for line, other in zip(*rows, strict=True):
        assert sorted(re.findall(r"\d+(?:[.,]\d+)+", line)) == sorted(re.findall(r"\d+(?:[.,]\d+)+", other))
    assert len({tuple(re.findall(r"`(?:tests/)?(?:test_\w+\.py)?(?:::)?(test_\w+)`", text)) for text in texts}) == 1
    outside = [sorted(target for target in links(text) if target.startswith("http")) for text in texts]
    assert outside[0] == outside[1]
    images = [[target for target in links(text) if target.endswith(".png")] for text in texts]
    assert images[0] == images[1]


def test_every_document_has_its_other_language():
    """And links to it at its top."""
    names = {name for name in DOCUMENTS if not ALONE.fullmatch(name)}
    for name in names:
        twin = name.replace("_CN.md", ".md") if name.endswith("_CN.md") else name.replace(".md", "_CN.md")
        assert twin in names, f"{name} has no {twin}"
        assert twin.split("/")[-1] in links("\n".join(read(name).splitlines()[:12])), name


def commands(document):
    """(block, model, command) of each command of a document's shell blocks."""
    model = model_of(document)
    for block in blocks(document):
        for command in block.commands() if block.language == "bash" else ():
            if match := re.match(r"cd (?:\.\./)?(\w+)$", command):
                model = match[1] if match[1] in MODELS else model
            yield block, model, command


def sources_of(program, model):
    """The file that `program` starts, of any model where none is said; None if it is no program of ours."""
    model = model or MODELS[0]
    places = [ROOT / program, ROOT / model / program, ROOT / f"{program.replace('.', '/')}.py",
              ROOT / program.replace(".", "/") / "__main__.py", ROOT / model / "data" / program]
    return next((place for place in places if place.is_file()), None)


@pytest.mark.parametrize("document", sorted(SHELL))
def test_programs_and_flags_of_commands_exist(document):
    """Of all blocks, also those that need an Ascend or a corpus."""
    for _, model, command in commands(document):
        words = shlex.split(command)
        if re.match(r"python3? -c |bash Ascend-cann|\S*converter_lite ", command):
            continue
        if words[0] in {"python", "python3", "bash"}:
            program = words[2] if words[1] == "-m" else words[1]
            source = sources_of(program, model)
            assert source, command
            known = set(re.findall(r"--(\w[\w-]*)", source.read_text(encoding="utf-8")))
            owner = source.relative_to(ROOT).parts[0] if model else "any"
            known |= {name for other in MODELS if other == owner or not model for name in flags_of(other)}
            known |= launcher_flags() if "run_distribute_train" in program else set()
            known |= recipe_flags() if "/test/" in str(source) else set()
        elif words[0].endswith("ascend310_infer/build/main"):
            known = runner_flags()
        else:
            assert words[0] in COMMON, command
            continue
        assert {word[2:].partition("=")[0] for word in words if word.startswith("--")} <= known | {"help"}, command
        for preset in re.findall(r"[\w/]*configs/\w+\.yaml", command):
            assert any((ROOT / folder / preset).exists() for folder in ("", model)), command


@pytest.mark.parametrize("document", sorted(SHELL))
def test_every_shell_block_is_run_by_a_test_or_says_what_it_needs(document):
    """`# not run by us` first in it: an Ascend. After the fence `corpus`: data from elsewhere; `run`: see below;
    `tutorial`: test_tutorials.py."""
    tests = defined_tests()
    for block, model, command in commands(document):
        assert block.mark in {"", "corpus", "run", "tutorial"}, f"{block.line}: unknown mark {block.mark!r}"
        if block.needs_ascend or block.mark:
            continue
        named = [names for pattern, names in RUN_BY.items() if re.fullmatch(pattern, command)]
        assert named, f"{document}:{block.line}: {command}: mark its block, or name in RUN_BY the test that runs it"
        for names in filter(None, named):
            file, function = (names[MODELS.index(model)] if len(names) == 3 and model else names[0]).split("::")
            assert function in tests[f"tests/test_{file}.py"], f"{file}::{function}"


def run_blocks(document):
    """The blocks of a document that are run here, each with the `text` block after it, which shows what it prints."""
    found = [*blocks(document), Block(document, 0, "", "", "")]
    return [(block, following.text if following.language == "text" else "")
            for block, following in itertools.pairwise(found)
            if block.mark == "run" or (block.language == "python" and block.mark not in {"corpus", "tutorial"})]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A folder that looks like a clone; what is written beside the models stays in it."""
    folder = tmp_path_factory.mktemp("clone")
    for path in ROOT.iterdir():
        if not path.name.startswith(".") and path.name not in {"separated", "runs"}:
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def loaded():
    """{model: its load}, which compiles each checkpoint once for all documents."""
    return {model: functools.cache(importlib.import_module(f"{model}.src.inference").load) for model in MODELS}


@pytest.fixture(scope="module")
def answers():
    """{command: what it printed}: documents of both languages have the same commands."""
    return {}


def same_output(printed, shown):
    """Whether every line that is shown was printed, its numbers but for rounding on another processor."""
    number = r"-?\d+\.\d+"
    lines = printed.splitlines()
    for line in shown.splitlines():
        alike = [other for other in lines if re.sub(number, "#", other) == re.sub(number, "#", line)]
        assert any([float(value) for value in re.findall(number, other)]
                   == pytest.approx([float(value) for value in re.findall(number, line)], abs=0.02)
                   for other in alike), f"{line!r} is not in {printed!r}"
    return True


@pytest.mark.parametrize("document", [name for name in sorted(SHELL) if run_blocks(name)])
def test_blocks_run_and_print_what_is_shown(document, clone, loaded, answers, monkeypatch):
    """Python blocks of a document share their names; of shell blocks marked `run`, programs of ours are called."""
    monkeypatch.chdir(clone)
    for model in MODELS:
        monkeypatch.setattr(importlib.import_module(model), "load", loaded[model], raising=False)
    names = {}
    for block, shown in run_blocks(document):
        if block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile(block.text, f"{document}:{block.line}", "exec"), names)
            printed = output.getvalue()
        else:
            printed = ""
            for command in block.commands():
                program, path, *arguments = shlex.split(command)
                assert program == "python", command
                if command not in answers:
                    main = importlib.import_module(path.removesuffix(".py").replace("/", ".")).main
                    answers[command] = called(main, *arguments)
                code, text = answers[command]
                assert code == 0, text
                printed += text
        assert same_output(printed, shown)


@pytest.mark.parametrize("document", sorted(SHELL))
def test_what_needs_an_ascend_says_that_it_was_not_run(document):
    """And nothing else does."""
    for block in blocks(document):
        needs = [line for line in block.text.splitlines() if "DEVICE_TARGET=CPU" not in line and re.search(
            r"npu-smi|^bash Ascend-|^source .*set_env|converter_lite|'Ascend'|^bash ascend_report|"
            r"run_\w+_(ascend|msrun|310)\.sh|run_(distribute|standalone)_train\.sh|run_eval\.sh|/test/train_|"
            r"MS_LITE_HOME", line)]
        assert block.language != "bash" or block.needs_ascend == bool(needs), f"{document}:{block.line}"
        assert block.language in {"bash", "text", "python", "mermaid", ""}, f"{document}:{block.line}"


@pytest.mark.parametrize("document", ["docs/faults.md", "docs/faults_CN.md"])
def test_faults_of_documents_have_their_tests(document):
    """Every row of the fault table names tests, and all of them exist; both languages name the same."""
    rows = table(read(document), "fault" if document == "docs/faults.md" else "故障")
    named = [re.findall(r"`(test_\w+)`", row[3]) for row in rows]
    assert len(rows) >= 10 and all(named)
    assert {name for names in named for name in names} <= {name for tests in defined_tests().values() for name in tests}
    other = read("docs/faults.md")
    assert all(f"`{name}`" in other for names in named for name in names)


def test_tables_end_with_an_empty_line():
    """What follows a row without one is taken for another row."""
    joined = [f"{document}: {after}" for document in DOCUMENTS for row, after in itertools.pairwise(
        prose(read(document)).splitlines()) if row.startswith("|") and after and not after.startswith("|")]
    assert joined == []


def test_make_targets_of_documents_exist():
    targets = set(re.findall(r"^([\w./-]+):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for document in SHELL:
        named = re.findall(r"`make\s([\w./-]+)", read(document))
        named += [command.split()[1] for _, _, command in commands(document) if command.startswith("make ")]
        assert set(named) <= targets, document


def test_anchors_are_those_of_github():
    """Letters of any script stay, punctuation goes, equal headings are numbered, code blocks have no headings."""
    text = "# A *b*, `c` & C++!\n## 在 CPU 上（一）\n## Same\n## Same\n```text\n# none\n```\n### [x](y) z_1\n"
    assert anchors(text) == {"a-b-c--c", "在-cpu-上一", "same", "same-1", "x-z_1"}


def test_commands_of_a_block_are_read_as_a_shell_does():
    """Comments, settings of the environment and joined lines."""
    block = Block("x.md", 1, "bash", "", "# one\ncd a && A=1 python b.py --x \\\n  1   # two\n(cd c; python3 d.py)\n")
    assert block.commands() == ["cd a", "python b.py --x   1", "cd c", "python3 d.py"]
