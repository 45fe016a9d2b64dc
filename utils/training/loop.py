"""The training loop: every epoch trains, validates, logs, draws and saves; any interruption can be resumed exactly."""
import math
import os
import signal
import time
from collections.abc import Callable

import numpy as np
from mindspore import Tensor, nn, ops

from utils.checkpoints.checkpoint import save_checkpoint
from utils.config import AUTO
from utils.device import Device
from utils.errors import RunError
from utils.progress import progress as progress_bar
from utils.training.state import State, statistics
from utils.training.step_clock import StepClock
from utils.training.train_step import FloatStatus, TrainStep


def trainable(*cells):
    """The list an optimiser takes."""
    return [parameter for cell in cells for parameter in cell.trainable_params()]


def make_step(objective: Callable, optimizer: nn.Optimizer, weights: dict, config, device: Device,
              loss_scale: float) -> TrainStep:
    """The TrainStep of what `fit` takes."""
    return TrainStep(objective, optimizer, loss_scale, config.clip_norm, config.accumulate, device.size,
                     statistics(weights), FloatStatus(device.size) if device.saturates else None)


def fit(objective, optimizer, schedule, batches, weights, run, config, device, loss_scale=1.0, metric="accuracy",
        validate=None, before_epoch=None, after_epoch=None):
    """Trains until num_epochs or early stop, or max_steps steps, into `run`; returns the Progress.

    objective(*batch):   tensors of a batch -> (loss, metric), what `metric` names; both scalar
    schedule(update):    learning rate
    weights:             {name: Parameter} that checkpoints hold
    validate():          {name: number}; the first is to become small and chooses best.ckpt
    before_epoch(epoch), after_epoch(row): called around every epoch
    config.halve_after:  validations without a better one before the rate is halved; 0: never
    config.max_steps:    steps of this call, whatever num_epochs and early_stop say, with their speed told; 0: no limit
    """
    step = make_step(objective, optimizer, weights, config, device, loss_scale)
    loop = Loop(step, schedule, batches, weights, run, config, metric, device)
    if config.resume:
        loop.resume()
    progress = loop.progress
    with _Signals() as signals:
        while config.max_steps or progress.epoch <= config.num_epochs and not progress.finished:
            if before_epoch:
                before_epoch(progress.epoch)
            loop.train_epoch(signals)
            if loop.clock.over:
                loop.finish_steps()
                break
            row = loop.finish_epoch(validate)
            if after_epoch:
                after_epoch(row)
    run.draw()
    run.say(f"finished: best epoch {progress.best_epoch}, {run.best}")
    return progress


class Loop:
    """The state of `fit` between its calls."""

    def __init__(self, step, schedule, batches, weights, run, config, metric, device):
        self.step, self.schedule, self.batches, self.weights = step, schedule, batches, weights
        self.run, self.config, self.metric, self.device = run, config, metric, device
        self.state = State(weights, step, run, device)
        self.progress = self.state.progress
        self.drawn = time.monotonic()
        self.clock, self.shapes = StepClock(config.max_steps), set()

    def train_epoch(self, signals):
        """The rest of the current epoch."""
        progress, started = self.progress, time.monotonic()
        self.counted = started
        bar = progress_bar(title=f"epoch {progress.epoch}/{self.config.num_epochs}", unit="batch",
                           total=self.batches.steps, initial=progress.step, disable=not self.run.writes)
        utterances, self.speed = 0, 0.0
        self.clock.start()
        with bar:
            for batch in self.batches.epoch(progress.epoch, progress.step):
                received, compiled = self.train_batch([Tensor(array) for array in batch], signals.received)
                self.clock.stop(len(batch[0]) * self.device.size, compiled)
                utterances += len(batch[0]) * self.device.size
                self.speed = utterances / (time.monotonic() - started)
                bar.update()
                bar.set_postfix_str(f"loss {progress.loss / progress.step:.3f} lr {progress.rate:.2e} "
                                    f"{self.speed:.1f} utt/s", refresh=False)
                if received:
                    self.leave(received)
                if self.clock.over:
                    break
                if self.config.save_steps and progress.step % self.config.save_steps == 0:
                    self.count_minutes()
                    self.save()
                    self.clock.start()
        self.count_minutes()

    def count_minutes(self):
        """Adds the time since the last call: interrupted epochs count too."""
        now = time.monotonic()
        self.progress.minutes, self.counted = self.progress.minutes + (now - self.counted) / 60, now

    def train_batch(self, batch, received=0):
        """One step, counted with the mean loss of all processes.

        What one of them has come upon: the signal that it has `received`, or 0, and whether it compiled a graph.
        """
        progress = self.progress
        progress.rate = self.schedule(progress.updates) * progress.factor
        # in place: after set_data the branch of the graph that holds the optimiser would go on with the old rate
        rate = self.step.optimizer.learning_rate
        ops.assign(rate, Tensor(progress.rate, rate.dtype))
        progress.batches += 1
        graph = (bool(progress.batches % self.config.accumulate), *(tensor.shape for tensor in batch))
        compiled = graph not in self.shapes
        self.shapes.add(graph)
        if progress.batches % self.config.accumulate:
            loss, metric = self.step.add(*batch)
        else:
            loss, metric, finite = self.step(*batch)
            finite = bool(finite)
            self.step.adjust_scale(finite)
            progress.overflows += not finite
            progress.updates += 1
        every = self.device.gather([float(loss), float(metric), received, compiled])    # all must decide alike
        wrong = [f"rank {rank}: {loss:g}" for rank, loss in enumerate(every[:, 0]) if not math.isfinite(loss)]
        if wrong and not self.step.scaled:
            raise RunError(f"loss is not finite ({', '.join(wrong)}) at epoch {progress.epoch}, batch "
                           f"{progress.step + 1}; lower max_lrate or set clip_norm, and continue from "
                           f"{self.run.state} with --resume {self.run.path}")
        progress.step += 1
        if wrong:
            progress.unscored += 1
        else:
            loss, metric, *_ = every.mean(axis=0, dtype=np.float64)
            progress.loss += float(loss)
            progress.metric += float(metric)
        return int(every[:, 2].max()), bool(every[:, 3].max())

    def finish_epoch(self, validate):
        """Validates, logs and saves; moves on to the next epoch. Returns the row of metrics.csv."""
        progress, config = self.progress, self.config
        self.state.average()
        last = progress.epoch == config.num_epochs
        scored = progress.step - progress.unscored or math.nan
        row = {"epoch": progress.epoch, "learning_rate": progress.rate, "loss": progress.loss / scored,
               self.metric: progress.metric / scored}
        scores = validate() if validate and (last or progress.epoch % config.test_step == 0) else {}
        row |= scores | {"minutes": round(progress.minutes, 2)}
        criterion = next(iter(scores.values()), math.inf)
        if criterion < progress.best or validate is None:
            progress.best, progress.best_epoch = criterion, progress.epoch
            self.save_weights(self.run.best, scores)
        self.save_weights(self.run.checkpoints / f"epoch_{progress.epoch:04d}.ckpt", scores)
        self.tell(row)
        if scores:
            self.judge(next(iter(scores)))
        progress.epoch += 1
        progress.step = progress.overflows = progress.unscored = 0
        progress.loss = progress.metric = 0.0
        self.save()
        return row

    def finish_steps(self):
        """Saves and tells the speed after max_steps steps."""
        progress = self.progress
        self.save()
        if not progress.best_epoch:     # no epoch is finished yet
            self.save_weights(self.run.best, {})
        self.run.say(f"{self.clock.taken} steps, state saved at epoch {progress.epoch}, batch {progress.step}; "
                     f"--resume {self.run.path} --max_steps 0 trains all epochs")
        self.run.say(self.clock.report())

    def judge(self, criterion):
        """Halves the rate, or ends the run, after too many validations without a better `criterion`."""
        progress, config = self.progress, self.config
        waited = (progress.epoch - progress.best_epoch) // config.test_step
        if config.early_stop and waited >= config.early_stop:
            progress.finished = True
            self.run.say(f"early stop: no better {criterion} in {config.early_stop} validations")
        elif config.halve_after and progress.epoch - max(progress.best_epoch, progress.halved) \
                >= config.halve_after * config.test_step:
            progress.factor, progress.halved = progress.factor / 2, progress.epoch
            self.run.say(f"no better {criterion} in {config.halve_after} validations: rate halved")

    def tell(self, row):
        """One line of the log, a row of metrics.csv, and curves.png now and then."""
        progress = self.progress
        notes = f" {self.speed:.1f} utt/s"
        notes += f", {progress.overflows} steps skipped for overflow" if progress.overflows else ""
        bad = list(self.batches.bad.values())
        if int(count := self.device.gather([len(bad)]).sum()):
            notes += f", {count:.0f} unusable files" + (f", the last: {bad[-1]}" if bad else "")
            self.run.say(notes.strip(" ,"), own=True)
        self.run.say("epoch " + " ".join(f"{name} {value:.4g}" if name != "epoch" else str(value)
                                         for name, value in row.items()) + notes)
        self.run.add_row(row)
        if time.monotonic() - self.drawn > 30:
            self.run.draw()
            self.drawn = time.monotonic()

    def save_weights(self, path, scores):
        if self.run.writes:
            save_checkpoint(path, self.weights, epoch=self.progress.epoch, **scores)
            for old in sorted(path.parent.glob("epoch_*.ckpt"))[:-self.config.keep_checkpoint_max]:
                os.unlink(old)

    def save(self):
        """The whole state, for --resume."""
        self.state.save(checked=not (self.step.scaled and self.progress.batches % self.config.accumulate))

    def resume(self):
        """Continues as config.resume says."""
        if path := self.state.resume(auto=self.config.resume == AUTO):
            self.progress = self.state.progress
            self.run.say(f"resumed from {path} at epoch {self.progress.epoch}, batch {self.progress.step} of "
                         f"{self.batches.steps}")

    def leave(self, number):
        """Saves and ends the program as a signal asked."""
        self.count_minutes()
        self.save()
        self.run.say(f"{signal.Signals(number).name}: state saved at epoch {self.progress.epoch}, batch "
                     f"{self.progress.step}; continue with --resume {self.run.path}")
        self.batches.close()
        self.device.gather([number])    # none leaves before rank 0 has saved: the launcher would stop all at once
        raise SystemExit(128 + number)


class _Signals:
    """Notes SIGTERM and SIGINT so that the loop can finish its step; a second one acts at once."""

    def __enter__(self):
        self.received = 0
        self.previous = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_):
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _note(self, number, _frame):
        self.received = number
        signal.signal(number, self.previous[number])
