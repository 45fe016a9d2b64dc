"""Large lists, in small: every rank gets as many steps, no utterance twice, and none is lost but what fills no step."""
import re
import subprocess
import sys

from helpers.documents import ROOT


def test_an_epoch_is_shared_out_whole():
    """benchmarks/scale.py makes every batch of every rank through the datasets and counts the utterances in them."""
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / "scale.py", "--utterances", "6500", "--speakers", "90",
                           "--workers", "1"], capture_output=True, text=True, check=True, cwd=ROOT)
    rows = {(model, int(ranks)): [int(number.replace(",", "")) for number in numbers.split("|")]
            for model, ranks, numbers in re.findall(r"^\| (\w+) \| (\d+) \|([\d,| ]+)\|$", done.stdout, re.M)}
    for model, batch in (("ecapatdnn", 100), ("deepspeech2", 8)):
        for ranks in (1, 8, 64):
            steps = 6500 // (batch * ranks)
            assert rows[model, ranks] == [steps, steps * batch * ranks, 6500 - steps * batch * ranks, 0]
    assert "packed, 2 shards: index read in" in done.stdout and "| conv_tasnet |" in done.stdout
