"""The training loop: every epoch trains, validates, logs, draws and saves; any interruption can be resumed exactly."""
import math
import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

from mindspore import Parameter, Tensor, nn, ops

from utils.checkpoints.checkpoint import save_checkpoint
from utils.config import AUTO
from utils.device import Device
from utils.errors import RunError
from utils.progress import progress as progress_bar
from utils.training.loader import Batches
from utils.training.recipe import Recipe
from utils.training.run_folder import RunFolder
from utils.training.settings import RunSettings
from utils.training.signals import Signals
from utils.training.state import Progress, State, statistics
from utils.training.step_clock import StepClock
from utils.training.train_step import FloatStatus, TrainStep

REDRAW = 30     # seconds between two drawings of curves.png


def trainable(*cells: nn.Cell) -> list[Parameter]:
    """What an optimiser takes: the parameters of all cells that gradients move."""
    return [parameter for cell in cells for parameter in cell.trainable_params()]


def make_step(recipe: Recipe, config: RunSettings, device: Device) -> TrainStep:
    """The TrainStep of a recipe."""
    return TrainStep(recipe.objective, recipe.optimizer, recipe.precision.loss_scale, config.clip_norm,
                     config.accumulate, device.size, statistics(recipe.weights),
                     FloatStatus(device.size) if device.saturates else None)


def fit(recipe: Recipe, batches: Batches, folder: RunFolder, config: RunSettings, device: Device) -> Progress:
    """Trains until num_epochs or early stop, or max_steps steps, into `folder`; returns where the run stands.

    SystemExit, with the state saved, after SIGTERM or SIGINT. RunError where the loss or a weight is not a number.
    """
    folder.log(f"{batches.dataset.describe()}, {batches.steps} batches of {config.minibatch_size} an epoch, "
               f"{recipe.precision} on {device}")
    loop = Loop(recipe, batches, folder, config, device)
    if config.resume:
        loop.resume()
    folder.start()
    with Signals() as signals:
        while config.max_steps or loop.progress.epoch <= config.num_epochs and not loop.progress.finished:
            if recipe.before_epoch:
                recipe.before_epoch(loop.progress.epoch)
            loop.train_epoch(signals)
            if loop.clock.over:
                loop.finish_steps()
                break
            loop.finish_epoch()
            if recipe.after_epoch:
                recipe.after_epoch(folder)
    folder.draw(recipe.criterion)
    folder.log(f"finished: best epoch {loop.progress.best_epoch}, {folder.best}")
    return loop.progress


class Report(NamedTuple):
    """What a process reports of a batch. All of them decide by the reports of all, and so alike."""

    loss: float
    metric: float
    signal: int         # the number of one that it has received, or 0
    compiled: bool      # whether it had to compile a graph for this batch

    def exchange(self, device: Device) -> list["Report"]:
        """The reports of all processes, by rank."""
        return [Report(float(loss), float(metric), int(number), bool(compiled))
                for loss, metric, number, compiled in device.gather(self)]


class Loop:
    """A run between the calls of `fit`. All that is saved of it lies in `state`, which owns its Progress."""

    def __init__(self, recipe: Recipe, batches: Batches, folder: RunFolder, config: RunSettings,
                 device: Device) -> None:
        self.recipe, self.batches, self.folder, self.config, self.device = recipe, batches, folder, config, device
        self.step = make_step(recipe, config, device)
        self.state = State(recipe.weights, self.step, folder, device)
        self.clock = StepClock(config.max_steps)
        self.graphs = set()         # what distinguishes the graphs that are compiled
        self.drawn = self.counted = time.monotonic()    # when the curves were drawn, up to when minutes are counted
        self.speed = 0.0            # utterances per second in this epoch, on all devices

    @property
    def progress(self) -> Progress:
        return self.state.progress

    def resume(self) -> None:
        """Continues as config.resume says."""
        if path := self.state.resume(auto=self.config.resume == AUTO):
            self.folder.log(f"resumed from {path} at epoch {self.progress.epoch}, batch {self.progress.step} of "
                            f"{self.batches.steps}")

    def train_epoch(self, signals: Signals) -> None:
        """The rest of the current epoch."""
        progress, config = self.progress, self.config
        utterances, self.speed = 0, 0.0
        self.counted = started = time.monotonic()
        self.clock.start()
        with progress_bar(title=f"epoch {progress.epoch}/{config.num_epochs}", unit="batch", total=self.batches.steps,
                          initial=progress.step, disable=not self.folder.writes) as bar:
            for batch in self.batches.epoch(progress.epoch, progress.step):
                reports = self.train_batch([Tensor(array) for array in batch], signals.received)
                count = len(batch[0]) * self.device.size
                self.clock.stop(count, any(report.compiled for report in reports))
                utterances += count
                self.speed = utterances / (time.monotonic() - started)
                bar.update()
                bar.set_postfix_str(f"loss {progress.loss / progress.step:.3f} lr {progress.rate:.2e} "
                                    f"{self.speed:.1f} utt/s", refresh=False)
                if number := max(report.signal for report in reports):
                    self.save_and_exit(number)
                if self.clock.over:
                    break
                if config.save_steps and progress.step % config.save_steps == 0:
                    self.count_minutes()
                    self.save()
                    self.clock.start()
        self.count_minutes()

    def train_batch(self, batch: list[Tensor], received: int = 0) -> list[Report]:
        """One step, counted with the mean loss of all processes; their reports. `received`: a signal, or 0."""
        progress = self.progress
        self._set_rate(self.recipe.schedule(progress.updates) * progress.factor)
        progress.batches += 1
        is_update = progress.batches % self.config.accumulate == 0
        graph = (is_update, *(tensor.shape for tensor in batch))
        compiled = graph not in self.graphs
        self.graphs.add(graph)
        if is_update:
            loss, metric, finite = self.step(*batch)
            finite = bool(finite)
            self.step.adjust_scale(finite)
            progress.overflows += not finite
            progress.updates += 1
        else:
            loss, metric = self.step.add(*batch)
        reports = Report(float(loss), float(metric), received, compiled).exchange(self.device)
        self._count(reports)
        return reports

    def _set_rate(self, rate: float) -> None:
        self.progress.rate = rate
        # in place: after set_data the branch of the graph that holds the optimiser would go on with the old rate
        parameter = self.step.optimizer.learning_rate
        ops.assign(parameter, Tensor(rate, parameter.dtype))

    def _count(self, reports: list[Report]) -> None:
        """Counts a step. RunError where its loss is not finite and no loss scale explains that."""
        progress = self.progress
        wrong = [f"rank {rank}: {report.loss:g}" for rank, report in enumerate(reports)
                 if not math.isfinite(report.loss)]
        if wrong and not self.step.scaled:
            raise RunError(f"loss is not finite ({', '.join(wrong)}) at epoch {progress.epoch}, batch "
                           f"{progress.step + 1}; lower max_lrate or set clip_norm, and continue from "
                           f"{self.folder.state} with --resume {self.folder.path}")
        progress.step += 1
        if wrong:
            progress.unscored += 1
        else:
            progress.loss += sum(report.loss for report in reports) / len(reports)
            progress.metric += sum(report.metric for report in reports) / len(reports)

    def count_minutes(self) -> None:
        """Adds the time since the last call: interrupted epochs count too."""
        now = time.monotonic()
        self.progress.minutes, self.counted = self.progress.minutes + (now - self.counted) / 60, now

    def finish_epoch(self) -> None:
        """Validates, logs and saves; moves on to the next epoch."""
        progress, recipe, config = self.progress, self.recipe, self.config
        self.state.average()
        scored = progress.step - progress.unscored or math.nan
        row = {"epoch": progress.epoch, "learning_rate": progress.rate, "loss": progress.loss / scored,
               recipe.metric: progress.metric / scored}
        is_due = progress.epoch == config.num_epochs or progress.epoch % config.test_step == 0
        scores = recipe.validate() if recipe.validate and is_due else {}
        row |= scores | {"minutes": round(progress.minutes, 2)}
        score = scores[recipe.criterion] if scores else math.inf
        if score < progress.best or recipe.validate is None:
            progress.best, progress.best_epoch = score, progress.epoch
            self.save_weights(self.folder.best, scores)
        self.save_weights(self.folder.checkpoints / f"epoch_{progress.epoch:04d}.ckpt", scores)
        self.log_epoch(row)
        if scores:
            self.check_patience()
        progress.epoch += 1
        progress.step = progress.overflows = progress.unscored = 0
        progress.loss = progress.metric = 0.0
        self.save()

    def finish_steps(self) -> None:
        """Saves and logs the speed after max_steps steps."""
        progress = self.progress
        self.save()
        if not progress.best_epoch:     # no epoch is finished yet
            self.save_weights(self.folder.best, {})
        self.folder.log(f"{self.clock.taken} steps, state saved at epoch {progress.epoch}, batch {progress.step}; "
                        f"--resume {self.folder.path} --max_steps 0 trains all epochs")
        self.folder.log(self.clock.report())

    def check_patience(self) -> None:
        """Halves the rate, or ends the run, after too many validations without a better criterion."""
        progress, config, criterion = self.progress, self.config, self.recipe.criterion
        waited = (progress.epoch - progress.best_epoch) // config.test_step
        if config.early_stop and waited >= config.early_stop:
            progress.finished = True
            self.folder.log(f"early stop: no better {criterion} in {config.early_stop} validations")
        elif config.halve_after and progress.epoch - max(progress.best_epoch, progress.halved) \
                >= config.halve_after * config.test_step:
            progress.factor, progress.halved = progress.factor / 2, progress.epoch
            self.folder.log(f"no better {criterion} in {config.halve_after} validations: rate halved")

    def log_epoch(self, row: dict[str, float]) -> None:
        """One line of the log, a row of metrics.csv, and curves.png now and then."""
        progress = self.progress
        notes = f" {self.speed:.1f} utt/s"
        notes += f", {progress.overflows} steps skipped for overflow" if progress.overflows else ""
        reasons = list(self.batches.bad.values())
        if count := int(self.device.gather([len(reasons)]).sum()):
            notes += f", {count} unusable files" + (f", the last: {reasons[-1]}" if reasons else "")
            self.folder.log(notes.strip(" ,"), every_rank=True)
        self.folder.log("epoch " + " ".join(f"{name} {value:.4g}" if name != "epoch" else str(value)
                                            for name, value in row.items()) + notes)
        self.folder.add_row(row)
        if time.monotonic() - self.drawn > REDRAW:
            self.folder.draw(self.recipe.criterion)
            self.drawn = time.monotonic()

    def save_weights(self, path: Path, scores: dict[str, float]) -> None:
        """A checkpoint of the weights alone, with the scores of its epoch; drops the oldest of too many."""
        if self.folder.writes:
            save_checkpoint(path, self.recipe.weights, epoch=self.progress.epoch, **scores)
            for old in sorted(path.parent.glob("epoch_*.ckpt"))[:-self.config.keep_checkpoint_max]:
                os.unlink(old)

    def save(self) -> None:
        """The whole state, for --resume."""
        self.state.save(checked=not (self.step.scaled and self.progress.batches % self.config.accumulate))

    def save_and_exit(self, number: int) -> None:
        """Saves and ends the program, as the signal of that number asks."""
        self.count_minutes()
        self.save()
        self.folder.log(f"{signal.Signals(number).name}: state saved at epoch {self.progress.epoch}, batch "
                        f"{self.progress.step}; continue with --resume {self.folder.path}")
        self.batches.close()
        self.device.barrier()       # none ends before rank 0 has saved: the launcher would stop all at once
        raise SystemExit(128 + number)
