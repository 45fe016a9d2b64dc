# make install  makes .venv, and nothing more
# make demo     uses the checkpoints that ship, then trains, evaluates, exports and uses every model on synthetic speech
# make demo-short  the same with less training
# make samples  the first minute of it: pictures of what the shipped checkpoints make of the shipped samples
# make pictures  draws docs/pictures again: the samples, the page, and AN4's test speakers from SPEECH_DATA
# make app      a local page to try the models on, and their API
# make test     lint and tests
# All make .venv first; a second run finds it finished.
# make results-deepspeech2                                    train and evaluate as RESULTS.md says
# make results-deepspeech2 CHECKPOINT=pretrained/best.ckpt    evaluate only; likewise the other two
# make seeds-ecapatdnn       the smaller network's training with three seeds, their mean and spread
# make ablation-ecapatdnn    short trainings, each with one change of the recipe
# make ascend-check          compiles every graph for an Ascend on this CPU: backend and kernels in a table
# make imports               prints which package imports which; exit code 1 where an import points up
# make clean                 removes .venv, builds and what programs leave beside their results

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# one file's tests stay in one process: they share trained networks; tests/conftest.py puts the longest files first
PARALLEL := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# what programs and MindSpore leave where they are run; runs/, lists/, corpora/, results/ and logs are the user's
PASSING := train_parallel* preprocess_Result result_Files rank_* offload kernel_meta rewritten_network test/output
PIP := $(RUN) -m pip install -qq --disable-pip-version-check

.PHONY: install app demo demo-short samples pictures test test-slow lint bench results-ecapatdnn results-conv_tasnet \
  results-deepspeech2 seeds-ecapatdnn ablation-ecapatdnn ascend-check imports clean

install: $(VENV)/.demo

samples: $(VENV)/.demo
	$(RUN) samples.py

pictures: samples $(VENV)/.dev
	@: "$${SPEECH_DATA:?is not set: the folder with librispeech/ and an4/}"
	$(RUN) ecapatdnn/prepare.py --corpus open_speech --data_folder $$SPEECH_DATA --output_folder runs/pictures
	$(RUN) ecapatdnn/eval.py --checkpoint_path ecapatdnn/pretrained/best.ckpt --eval_list runs/pictures/an4_test.txt \
	  --eval_path $$SPEECH_DATA --train_list runs/pictures/train.txt --train_path $$SPEECH_DATA --as_norm true \
	  --output_folder runs/pictures
	PYTHONPATH=tests $(RUN) -m helpers.screenshot runs/pictures/page.png
	$(RUN) -c 'import pathlib, sys; from PIL import Image; [Image.open(path).convert("RGB").quantize(64).save( \
	  pathlib.Path("docs/pictures", pathlib.Path(path).name), optimize=True) for path in sys.argv[1:]]' \
	  runs/pictures/det.png runs/pictures/page.png runs/samples/separation.png runs/samples/transcript.png

app: $(VENV)/.app
	$(RUN) app/serve.py

demo: $(VENV)/.demo
	$(RUN) demo.py

demo-short: $(VENV)/.demo
	$(RUN) demo.py --short

test: lint
	$(RUN) -m pytest $(PARALLEL)

test-slow: lint
	$(RUN) -m pytest $(PARALLEL) -m ""

lint: $(VENV)/.dev
	$(RUN) -m ruff check .
	$(VENV)/bin/basedpyright
	$(VENV)/bin/shellcheck .ci/run $$(git ls-files '*.sh')
	$(VENV)/bin/clang-format --dry-run --Werror $$(git ls-files '*.cc' '*.h')

bench: $(VENV)/.demo
	$(RUN) benchmarks/onednn_cap.py
	$(RUN) benchmarks/training.py
	$(RUN) benchmarks/runner.py
	$(RUN) benchmarks/parts.py
	$(RUN) benchmarks/scale.py

results-ecapatdnn: $(VENV)/.demo
	bash ecapatdnn/scripts/results_open_speech.sh $(CHECKPOINT)

seeds-ecapatdnn: $(VENV)/.demo
	bash ecapatdnn/scripts/seeds_librispeech_an4.sh

ablation-ecapatdnn: $(VENV)/.demo
	bash ecapatdnn/scripts/ablation_librispeech_an4.sh

results-conv_tasnet: $(VENV)/.demo
	bash conv_tasnet/scripts/results_open_speech.sh $(CHECKPOINT)

results-deepspeech2: $(VENV)/.demo
	bash deepspeech2/scripts/results_an4.sh $(CHECKPOINT)

ascend-check: $(VENV)/.demo
	$(RUN) -m utils.ascend_check

imports:
	@$(PYTHON) tests/helpers/imports.py

clean:
	rm -rf $(VENV) build dist *.egg-info ascend310_infer/build ascend310_infer/build_sanitize
	rm -rf $(foreach place,. ecapatdnn conv_tasnet deepspeech2,$(PASSING:%=$(place)/%))

$(VENV)/.demo: pyproject.toml requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || \
	  { echo "error: $$($(PYTHON) --version 2>&1), expected 3.10 to 3.12 (MindSpore's); pass PYTHON=python3.11"; exit 2; }
	@echo "== installing into $(VENV) (MindSpore and friends, a few minutes) =="
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .[demo]
	@touch $@

$(VENV)/.app: $(VENV)/.demo
	@echo "== installing the server of the page =="
	$(PIP) --editable .[demo,app]
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.demo
	@echo "== installing the tools of the tests =="
	$(PIP) --requirement requirements-dev.txt
	@touch $@
