"""The training loop: every epoch trains, validates, logs, draws and saves; an interrupted run goes on where it was."""
import math
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

HOPELESS = 100  # steps in a row that overflow: no loss scale will help
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
        while config.max_steps or loop.progress.epoch <= config.num_epochs and not loop.has_waited_enough():
            if recipe.before_epoch:
                recipe.before_epoch(loop.progress.epoch)
            loop.train_epoch(signals)
            if loop.clock.over:
                loop.finish_steps()
                break
            loop.finish_epoch()
            if recipe.after_epoch:
                recipe.after_epoch(folder)
            loop.heed(signals)
    if loop.has_waited_enough():
        folder.log(f"early stop: no better {recipe.criterion} in {config.early_stop} validations")
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
        self.state = State(recipe.weights, self.step, folder, device, Progress(
            devices=device.size, steps=batches.steps, minibatch_size=config.minibatch_size,
            accumulate=config.accumulate, seed=config.seed))
        self.clock = StepClock(config.max_steps)
        self.graphs = set()         # what distinguishes the graphs that are compiled
        self.drawn = self.counted = time.monotonic()    # when the curves were drawn, up to when minutes are counted
        self.speed = 0.0            # utterances per second in this epoch, on all devices
        self.skipped = 0            # steps in a row that have changed nothing

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
                reports = self.train_batch([Tensor(array) for array in batch], signals)
                count = len(batch[0]) * self.device.size
                self.clock.stop(count, any(report.compiled for report in reports))
                utterances += count
                self.speed = utterances / (time.monotonic() - started)
                bar.update()
                bar.set_postfix_str(f"loss {progress.mean_loss:.3f} lr {progress.rate:.2e} "
                                    f"{self.speed:.1f} utt/s", refresh=False)
                if number := max(report.signal for report in reports):
                    self.count_minutes()
                    self.save()
                    self.leave(number)
                if self.clock.over:
                    break
                if config.save_steps and progress.step % config.save_steps == 0:
                    self.count_minutes()
                    self.save()
                    self.clock.start()
        self.count_minutes()

    def train_batch(self, batch: list[Tensor], signals: Signals) -> list[Report]:
        """One step, counted with the mean loss of all processes; their reports."""
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
            self._count_skipped(finite)
            progress.updates += 1
        else:
            loss, metric = self.step.add(*batch)
        # the signal is asked for last: one that came within the step ends the run after this step, not the next
        reports = Report(float(loss), float(metric), signals.received, compiled).exchange(self.device)
        self._count(reports)
        return reports

    def _set_rate(self, rate: float) -> None:
        self.progress.rate = rate
        # in place: after set_data the branch of the graph that holds the optimiser would go on with the old rate
        parameter = self.step.optimizer.learning_rate
        ops.assign(parameter, Tensor(rate, parameter.dtype))

    def _count_skipped(self, finite: bool) -> None:
        """Counts an update that changed nothing. RunError where all do."""
        self.skipped = 0 if finite else self.skipped + 1
        self.progress.overflows += not finite
        if self.skipped == HOPELESS:
            raise RunError(f"gradients are not finite, {HOPELESS} steps in a row, up to epoch {self.progress.epoch}, "
                           f"batch {self.progress.step + 1}; lower the learning rate or loss_scale, and continue from "
                           f"{self.folder.state} with --resume {self.folder.path}")

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
        self.step.drop_overflow()
        self.state.average()
        row = {"epoch": progress.epoch, "learning_rate": progress.rate, "loss": progress.mean_loss,
               recipe.metric: progress.mean_metric}
        is_due = progress.epoch == config.num_epochs or progress.epoch % config.test_step == 0
        scores = recipe.validate() if recipe.validate and is_due else {}
        row |= scores | {"minutes": round(progress.minutes, 2)}
        score = scores[recipe.criterion] if scores else math.inf
        if score < progress.best or recipe.validate is None:
            progress.best, progress.best_epoch = score, progress.epoch
            self.save_weights(self.folder.best, scores)
        self.save_weights(self.folder.checkpoints / f"epoch_{progress.epoch:04d}.ckpt", scores)
        self.folder.drop_oldest()
        self.log_epoch(row)
        if scores:
            self.lose_patience()
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

    def has_waited_enough(self) -> bool:
        """Whether the finished epochs had early_stop validations without a better criterion."""
        waited = (self.progress.epoch - 1 - self.progress.best_epoch) // self.config.test_step
        return bool(self.config.early_stop) and waited >= self.config.early_stop

    def lose_patience(self) -> None:
        """Halves the rate after too many validations without a better criterion."""
        progress, config, criterion = self.progress, self.config, self.recipe.criterion
        if config.halve_after and progress.epoch - max(progress.best_epoch, progress.halved) \
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
        """A checkpoint of the weights alone, with the scores of its epoch."""
        if self.folder.writes:
            save_checkpoint(path, self.recipe.weights, epoch=self.progress.epoch, **scores)

    def save(self) -> None:
        """The whole state, for --resume."""
        self.state.save(checked=not (self.step.scaled and self.progress.batches % self.config.accumulate))

    def heed(self, signals: Signals) -> None:
        """After an epoch, which has saved its state: ends the program where a process has received a signal."""
        if number := int(self.device.gather([signals.received]).max()):
            self.leave(number)

    def leave(self, number: int) -> None:
        """Ends the program, whose state is saved, as the signal of that number asks."""
        self.folder.log(f"{signal.Signals(number).name}: state saved at epoch {self.progress.epoch}, batch "
                        f"{self.progress.step}; continue with --resume {self.folder.path}")
        self.batches.close()
        self.device.barrier()       # none ends before rank 0 has saved: the launcher would stop all at once
        raise SystemExit(128 + number)
