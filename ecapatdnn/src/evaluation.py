"""Verification scored: what eval.py, postprocess.py and trainECAPAModel.py compute and report.

Letters: n trials.
"""
import dataclasses
import os
import sys
from pathlib import Path

import numpy as np

from ecapatdnn.src.calibration import (
    WHOLE,
    Calibration,
    detection_cost,
    fit,
    joint_seconds,
    log_likelihood_cost,
    minimum_log_likelihood_cost,
    scores_whole,
    to_record,
)
from ecapatdnn.src.config import Config
from ecapatdnn.src.inference import first_utterances, load, survey_files
from ecapatdnn.src.metric import Trials, equal_error_rate, error_rates, minimum_detection_cost, read_trials
from ecapatdnn.src.plots import draw_calibration, draw_det
from ecapatdnn.src.scoring import as_norm, cosine_scores, subtract_mean
from utils.audio.survey import survey
from utils.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from utils.config import require
from utils.files import write_text
from utils.paths import list_name
from utils.results import result_folder

PRIORS = 0.01, 0.05     # of a target, for detection costs


def score_trials(config: Config) -> tuple[dict[str, np.ndarray], Trials, Path | None]:
    """({kind: scores (n,)}, the trials of config.eval_list, the folder for what comes of them or None for nowhere).

    Kinds: cosine, AS-norm where config.as_norm is set, and LLR, the log-likelihood ratio that a calibrated checkpoint
    makes of the cosine. With config.calibrate it gets a new one, of scores of whole files as verdicts have them.
    """
    require(config, "eval_list", "eval_path")
    if config.calibrate and not scores_whole(config):
        print("note: calibrated scores are of whole files, as those of infer.py: without score_crops and subtract_mean",
              file=sys.stderr)
        config = dataclasses.replace(config, **WHOLE)
    trials = read_trials(config.eval_list)
    folder = result_folder(config.output_folder, config.model_path, f"eval_{list_name(config.eval_list)}")
    normalised = config.as_norm or config.subtract_mean
    source = (config.cohort_list, config.cohort_path) if config.cohort_list else (config.train_list, config.train_path)
    cohort_files = first_utterances(source[0], config.cohort_utterances)[0] if normalised else []
    verifier = load(config)
    if folder is None and verifier.cache:
        verifier.cache.writes = False
    if normalised:      # before the long work
        survey_files(cohort_files, source[1], config)
    embeddings = verifier.embed_files(trials.files, config.eval_path)
    results = {}
    if normalised:
        cohort = verifier.embed_speakers(*source, config.cohort_utterances)
        if config.subtract_mean:
            embeddings, cohort = subtract_mean(embeddings, cohort)
        results["cosine"] = cosine_scores(embeddings, trials)
        if config.as_norm:
            results["AS-norm"] = as_norm(results["cosine"], embeddings[:, 0], cohort, trials, config.top_n)
    else:
        results["cosine"] = cosine_scores(embeddings, trials)
    print(f"{config.eval_list}: {len(trials.target)} trials, {trials.target.sum()} targets, {len(trials.files)} files")
    if verifier.calibration and not config.calibrate or not scores_whole(config):
        _note_calibration(config)
    if config.calibrate or verifier.calibration:
        seconds = _joint_seconds(trials, config.eval_path, verifier)
        if verifier.calibration and not config.calibrate:
            calibration = verifier.calibration
        else:
            calibration = calibrate(config, results["cosine"], seconds, trials)
        results["LLR"] = calibration.llr(results["cosine"], seconds)
    return results, trials, folder


def _joint_seconds(trials, folder, verifier):
    """(n,), of what of the files goes into the network, as a Verdict's."""
    rows = survey(range(len(trials.files)), lambda row: verifier.seconds(
        os.path.join(folder, os.fsdecode(trials.files[row]))))
    seconds = np.array([rows[row] for row in range(len(trials.files))])
    return joint_seconds(seconds[trials.left], seconds[trials.right])


def _note_calibration(config):
    """A line where the checkpoint's calibration is of other scores, or was fitted to recordings with their pauses and
    these have none, or so.

    It holds for what goes into the network, of whatever length, but pauses change the scores as well.
    """
    saved = load_checkpoint(config.model_path)[1].get("calibration", {})
    fitted = saved.get("voice_activity", False)
    if saved and not scores_whole(config):
        print(f"note: {config.model_path}: its calibration is of scores of whole files, which --score_crops 0 "
              "--subtract_mean false has", file=sys.stderr)
    elif saved and fitted != config.voice_activity:
        print(f"note: {config.model_path}: its calibration was fitted with voice_activity {str(fitted).lower()}, here "
              f"it is {str(config.voice_activity).lower()}; its ratios may be off, --calibrate true fits others",
              file=sys.stderr)


def report(results: dict[str, np.ndarray], trials: Trials, folder: Path | None) -> dict[str, float]:
    """Prints EER and minDCF of scores (n,), writes scores_<kind>.txt and det.png into `folder`; returns {kind: EER}.

    Of log-likelihood ratios it prints Cllr and actDCF too, and draws calibration.png.
    """
    rates = {kind: error_rates(trials.target, scores) for kind, scores in results.items()}
    eers = {}
    for kind, errors in rates.items():
        eers[kind], threshold = equal_error_rate(errors)
        costs = [minimum_detection_cost(errors, prior) for prior in PRIORS]
        prefix = "" if kind == "cosine" else f"{kind}: "
        print(f"{prefix}EER = {100 * eers[kind]:.2f}%")
        print(f"{prefix}minDCF(p=0.01) = {costs[0]:.4f}, minDCF(p=0.05) = {costs[1]:.4f}, threshold = {threshold:.4f}",
              flush=True)
    if "LLR" in results:
        _report_calibration(trials.target, results["LLR"])
    if folder is None:
        return eers
    for kind in results:
        write_text(folder / f"scores_{kind}.txt", "".join(
            f"{score:.5f} {os.fsdecode(trials.files[left])} {os.fsdecode(trials.files[right])}\n"
            for score, left, right in zip(results[kind], trials.left, trials.right, strict=True)))
    draw_det(rates, eers, folder / "det.png")
    if "LLR" in results:
        draw_calibration(trials.target, results["LLR"], folder / "calibration.png")
    print(f"scores and {'det.png, calibration.png' if 'LLR' in results else 'det.png'}: {folder}")
    return eers


def _report_calibration(target, llr):
    costs = ", ".join(f"actDCF(p={prior}) = {detection_cost(target, llr, prior):.4f}" for prior in PRIORS)
    print(f"Cllr = {log_likelihood_cost(target, llr):.4f}, minimum {minimum_log_likelihood_cost(target, llr):.4f}; "
          f"{costs}", flush=True)


def calibrate(config: Config, scores: np.ndarray, seconds: np.ndarray, trials: Trials) -> Calibration:
    """What makes log-likelihood ratios of cosines (n,) of recordings of so many joint seconds (n,).

    It is saved in the checkpoint, for all programs that use it.
    """
    calibration = fit(trials.target, scores, seconds)
    parameters, record = load_checkpoint(config.model_path)
    save_checkpoint(config.model_path, parameters, **record | to_record(calibration, config))
    print(f"{config.model_path}: now holds this calibration: log-likelihood ratio = {calibration.scale:.3f} * score "
          f"{calibration.offset:+.3f} {calibration.duration:+.3f} * log(joint seconds)\n"
          f"two recordings of 5 s are of one speaker from a score of {calibration.threshold():.4f} on")
    return calibration
