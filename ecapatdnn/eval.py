"""Scores trials: python eval.py --checkpoint_path RUN/best.ckpt --eval_list LIST --eval_path DIR [--as_norm true]."""
import sys
from pathlib import Path

import numpy as np

from ecapatdnn.src.config import Config
from ecapatdnn.src.metric import equal_error_rate, error_rates, minimum_detection_cost, read_trials
from ecapatdnn.src.model import EcapaTdnn
from ecapatdnn.src.plots import draw_det
from ecapatdnn.src.scoring import Cache, Embedder, as_norm, cosine_scores, embed_files, speaker_means
from utils.checkpoints.checkpoint import load_model
from utils.config import parse_use_config, require
from utils.corpora.lists import read_train_list
from utils.cpu_ops import fast
from utils.device import setup_device
from utils.errors import run


def main(config):
    """Prints EER and minDCF, writes scores and det.png beside the checkpoint; returns {what: EER}."""
    return report(*score(config))


def score(config):
    """Scores the trials of eval_list: ({what: scores (n,)}, trials, the folder that takes what comes of them)."""
    require(config, "eval_list", "eval_path")
    setup_device(config.device_target, device_id=config.device_id)
    trials = read_trials(config.eval_list)
    embedder, cache = load_embedder(config), Cache(config.model_path, config)
    embeddings = embed_files(embedder, config.eval_path, trials.files, cache)
    cohort = cohort_means(embedder, cache, config) if config.as_norm or config.subtract_mean else None
    if config.subtract_mean:
        embeddings, cohort = subtract_mean(embeddings, cohort)
    results = {"cosine": cosine_scores(embeddings, trials)}
    if config.as_norm:
        results["AS-norm"] = as_norm(results["cosine"], embeddings[:, 0], cohort, trials, config.top_n)
    folder = Path(config.model_path).parent / f"eval_{Path(config.eval_list).stem}"
    folder.mkdir(exist_ok=True)
    print(f"{config.eval_list}: {len(trials.target)} trials, {trials.target.sum()} targets, {len(trials.files)} files")
    return results, trials, folder


def load_embedder(config):
    """The network of config.model_path, ready to embed files."""
    model = EcapaTdnn(config.in_channels, config.channels, config.emb_size, config.mfa_channels, config.variant)
    load_model(config.model_path, model)
    return Embedder(fast(model), config)


def cohort_means(embedder, cache, config):
    """Unit mean embedding of each speaker of the cohort, from its first utterances: (k, E)."""
    own = bool(config.cohort_list)
    path, folder = (config.cohort_list, config.cohort_path) if own else (config.train_list, config.train_path)
    paths, speaker, _ = read_train_list(path)
    order = np.argsort(speaker, kind="stable")
    first = np.searchsorted(speaker[order], speaker[order])
    chosen = order[np.arange(len(order)) - first < config.cohort_utterances]
    embeddings = embed_files(embedder, folder, paths[chosen], cache, label="cohort")
    return speaker_means(embeddings[:, 0], speaker[chosen])


def subtract_mean(embeddings, cohort):
    """Both sets relative to the cohort's mean, of length 1 again."""
    mean = cohort.mean(axis=0)
    return [(x - mean) / np.linalg.norm(x - mean, axis=-1, keepdims=True) for x in (embeddings, cohort)]


def report(results, trials, folder):
    """Prints a table, writes scores_<kind>.txt and det.png into `folder`; returns {kind: EER}."""
    rates = {kind: error_rates(trials.target, scores) for kind, scores in results.items()}
    eers = {}
    for kind, errors in rates.items():
        eers[kind], threshold = equal_error_rate(errors)
        costs = [minimum_detection_cost(errors, prior) for prior in (0.01, 0.05)]
        prefix = "" if kind == "cosine" else f"{kind}: "
        print(f"{prefix}EER = {100 * eers[kind]:.2f}%")
        print(f"{prefix}minDCF(p=0.01) = {costs[0]:.4f}, minDCF(p=0.05) = {costs[1]:.4f}, threshold = {threshold:.4f}")
        with open(folder / f"scores_{kind}.txt", "w", encoding="utf-8") as file:
            for score, left, right in zip(results[kind], trials.left, trials.right, strict=True):
                file.write(f"{score:.5f} {trials.files[left].decode()} {trials.files[right].decode()}\n")
    draw_det(rates, eers, folder / "det.png")
    print(f"scores and det.png: {folder}")
    return eers


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
