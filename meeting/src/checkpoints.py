"""What the three models load where no checkpoint is named. Imports no MindSpore: the help of programs shows it."""

# None: the one of no name that ships. The separator must leave an output empty where only one speaks.
CHECKPOINTS = {"ecapatdnn": None, "conv_tasnet": "noisy", "deepspeech2": None}
