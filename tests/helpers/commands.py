"""The flags of all programs."""
import dataclasses
import importlib
import re

from helpers.documents import ROOT


def flags_of(model):
    """Names of all flags that the programs of a model take."""
    module = importlib.import_module(f"{model}.src.config"), importlib.import_module(f"{model}.prepare")
    classes, others = [module[0].Config, module[1].PrepareConfig], {"config", "help"}
    if (ROOT / model / "speaker_id.py").exists():
        classes.append(importlib.import_module(f"{model}.src.speaker_id_config").SpeakerIdConfig)
    if (ROOT / model / "lm.py").exists():
        commands = importlib.import_module(f"{model}.lm")
        classes += [commands.EstimateConfig, commands.TuneConfig]
    if (ROOT / model / "trainECAPAModel.py").exists():
        classes.append(importlib.import_module(f"{model}.trainECAPAModel").Flags)
        others.add("eval")
    known = {name for cls in classes for name in (*(field.name for field in dataclasses.fields(cls)),
                                                  *getattr(cls, "ALIASES", ()))}
    source = (ROOT / model / "infer.py").read_text(encoding="utf-8")
    source += "".join((ROOT / "utils" / name).read_text(encoding="utf-8")
                      for name in ("average.py", "torch_weights/importer.py"))
    return known | others | set(re.findall(r'add_argument\("--(\w+)"', source))


def launcher_flags():
    """Names of all flags that run_distribute_train_ascend.sh takes beside those of train.py."""
    from utils.launch import OPTIONS

    return {option.lstrip("-") for option in OPTIONS}


def recipe_flags():
    """Names of all flags that test/*.sh take beside those of the training program."""
    return set(re.findall(r"--(\w+)=\*", (ROOT / "utils" / "recipe.sh").read_text(encoding="utf-8")))


def runner_flags():
    """Names of all flags of the C++ runner."""
    source = (ROOT / "ascend310_infer" / "src" / "options.cc").read_text(encoding="utf-8")
    return set(re.findall(r'\{"(\w+)", \{?&options', source))
