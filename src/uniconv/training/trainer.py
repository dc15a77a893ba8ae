"""Joint training on Accelerate, in one process or many, that can be stopped and resumed anywhere.

    train(load_config("train.yaml"))                  # or: uniconv train train.yaml
    accelerate launch -m uniconv train train.yaml     # several GPUs or machines, DDP

A step takes ``accumulation`` forward passes of ``batch_size`` turns in every process. Losses are
means over the whole step: its sums are divided by the number of queries or tokens in all passes
of all processes. In-batch negatives come from all processes, but from one pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from uniconv.config import TrainConfig, all_objectives, check_config, stage_settings
from uniconv.training.averaging import Average
from uniconv.training.batch import PARTS, Batch
from uniconv.training.checkpoints import (
    Checkpoint,
    check_agreed,
    finished,
    open_run,
    write_snapshot,
)
from uniconv.training.collate import Collator
from uniconv.training.diagnosis import Diagnosis
from uniconv.training.distributed import together, total
from uniconv.training.evaluation import Evaluation, dev_examples
from uniconv.training.examples import pool_size, read_examples
from uniconv.training.failures import Watch, check_finite
from uniconv.training.forwards import choose
from uniconv.training.gradcache import Cached
from uniconv.training.heldout import HeldOut
from uniconv.training.loggers import Loggers
from uniconv.training.network import check_backbone, load_trainable, parameter_groups
from uniconv.training.objective import Objective
from uniconv.training.optimisation import STOPPING, StopSignals, leave, seed_step, uses_bf16
from uniconv.training.refreshing import Refresher
from uniconv.training.reporting import Reporter, Window
from uniconv.training.saving import Saver
from uniconv.training.sharding import parameters, reshard, shard, wants_sharding, whole
from uniconv.training.stages import Course, RunStage
from uniconv.training.state import RunState
from uniconv.training.teacher import open_teacher


def train(config: TrainConfig) -> Path:
    """Trains a model and returns its folder, ``output/model``.

    A run that was stopped goes on from its newest checkpoint, exactly as if it had never stopped;
    one that has come to its end is left as it is. Ctrl-C and SIGTERM write a checkpoint first.

    Raises:
        ConfigError: a setting is wrong, a file is missing, or the output folder is another run's.
        DataError: a line of the data is malformed, or names a passage that isn't there.
        ModelError: the backbone can't be loaded.
        DivergedError: a loss became infinite or no number; checkpoints from before it are kept.
    """
    check_config(config)
    checkpoint = open_run(config)
    if (done := finished(config)) is not None:
        return done
    if checkpoint is None:
        check_backbone(config)
    return Trainer(config, checkpoint).run()


class Trainer:
    """A run under way: model, data and optimizer at step ``step``."""

    def __init__(self, config: TrainConfig, checkpoint: Checkpoint | None = None) -> None:
        # On CPUs Accelerate must be told to join processes.
        cpu = not torch.accelerator.is_available()
        launched = PartialState(cpu=cpu)
        device, world = launched.device, launched.num_processes
        check_agreed(checkpoint, config.output)
        configured = config.optimisation.batch_size
        if checkpoint is not None:
            config = checkpoint.shared_by(config, world)
        self.config = config
        settings = config.optimisation
        self.sharded = wants_sharding(settings)
        bf16 = uses_bf16(settings, device)
        objectives = all_objectives(config)
        generates = all(stage.objectives.writes for stage in stage_settings(config))
        self.accelerator = Accelerator(
            cpu=cpu,
            mixed_precision="no",  # the objective says itself where it computes in bfloat16
            # Without generation an LM head of its own gets no gradient.
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=not generates)],
        )
        examples = read_examples(
            config.data.train,
            objectives,
            pool=pool_size(config.data, objectives),
            seed=settings.seed,
        )
        dev = dev_examples(config)
        teacher = open_teacher(config, device)
        if teacher is not None:
            examples = teacher.write_responses(examples)
        self.course = Course(config, examples, world)
        self.steps = self.course.steps
        digest = examples.digest()
        self.about = {
            "processes": world,
            "batch_size": configured,
            "turns": world * settings.batch_size,
            "examples": digest,
        }
        self.step = 0
        self.watch = Watch(self.course.warmup)
        if checkpoint is not None:
            checkpoint.check(digest)
            self.step = checkpoint.step
            self.watch.load(checkpoint.state())
        self.model = load_trainable(config, device, bf16)
        self.collators = {
            stage.name: Collator(self.model.template, examples, config.data, stage.settings.used)
            for stage in self.course.stages
        }
        self.refresher = Refresher(config, self.course, examples, self.step)
        self.objective = Objective(
            self.model,
            objectives,
            forward_tokens=settings.forward_tokens,
            bf16=bf16,
            way=Cached if settings.gradient_cache else choose,
            distiller=None if teacher is None else teacher.prepare(self.model, examples, dev),
        )
        self.wrapped: Any = self.objective
        if self.sharded:
            shard(self.objective.run.innermost, self.model.lm, self._device)
        else:
            self.wrapped = self.accelerator.prepare(self.objective)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.objective, settings.weight_decay), lr=settings.learning_rate
        )
        self.average = Average(self.model.network, settings.ema)
        state = RunState(self.model.network, self.optimizer, self.average.averages)
        if checkpoint is not None:
            with together():
                state.read(checkpoint.folder)
        self.saver = Saver(config, self.model, state, self.average, self.about)
        self.evaluation = Evaluation(config, self.model, self.objective, self.accelerator, dev)
        held_out = HeldOut(self.model, self.objective, dev, settings.seed)
        self.diagnosis = Diagnosis(config, self.objective, held_out, self.course, self.collators)

    def run(self) -> Path:
        """Trains to the end and writes the model."""
        main, reporting = self.accelerator.is_main_process, self.config.reporting
        if main:
            write_snapshot(self.config)
        with (
            Reporter(self.steps, self.step, main and "terminal" in reporting.loggers) as reporter,
            closing(Loggers(self.config, reporter, self.step, main)) as loggers,
            StopSignals() as signals,
        ):
            if self.step:
                turns = self.config.optimisation.batch_size
                reporter.say(f"going on from step {self.step}, {turns} turns in a pass")
            for sentence in self.diagnosis.off:
                reporter.say(sentence)
            if not self.step:
                self._diagnose(loggers)
            window = Window()
            while self.step < self.steps:
                reporter.enter(self.course.at(self.step).name)
                with window.paused():
                    self._refresh(reporter)
                stop = self._train_step(window, signals)
                self.step += 1
                reporter.step()
                if self._due(reporting.log_every):
                    self._report(loggers, "train", self._measured(window))
                    window = Window()
                with window.paused():
                    if self.evaluation and self._due(reporting.evaluate_every):
                        self._evaluate(loggers)
                    self._diagnose(loggers)
                if ended := self.course.ended(self.step):
                    self._keep(ended)
                if stop or (self.step % self.config.checkpoints.every_steps == 0):
                    self.saver.checkpoint(self.step, self.watch.state())
                if stop and self.step < self.steps:
                    reporter.say(
                        f"stopped after step {self.step}; the same command goes on from there"
                    )
                    leave(stop)
            return self._finish()

    def _refresh(self, reporter: Reporter) -> None:
        """Takes newly mined negatives where that is due."""
        refreshed = self.refresher.before(self.step, self.model, self.objective.precision())
        if refreshed is not None:
            examples, about = refreshed
            reporter.say(about)
            for collator in self.collators.values():
                collator.use(examples)

    def _train_step(self, window: Window, signals: StopSignals) -> int:
        """Trains one step; returns the signal that some process has received, or 0."""
        settings, world = self.config.optimisation, self.accelerator.num_processes
        stage = self.course.at(self.step)
        if self.step == stage.first:
            self.optimizer.state.clear()
        self.objective.use(stage.objectives(self.step))
        seed_step(settings.seed, self.step, self.accelerator.process_index)
        batches = list(self._batches(stage))
        counted = [*map(sum, zip(*(batch.counts for batch in batches), strict=True))]
        counted += [sum(batch.tokens for batch in batches)]
        counted += [signals.received == number for number in STOPPING]
        numbers = total(torch.tensor(counted, dtype=torch.float64, device=self._device)).tolist()
        counts, tokens, received = numbers[: len(PARTS)], numbers[len(PARTS)], numbers[-2:]
        # DDP averages gradients over processes, where the sum is wanted.
        scale = [world / count if count else 0.0 for count in counts]
        sums: dict[str, Tensor] = {}
        self.wrapped.train()
        for number, batch in enumerate(batches, start=1):
            last = number == len(batches)
            synced = last or self.sharded  # split gradients are summed in every pass
            with nullcontext() if synced else self.accelerator.no_sync(self.wrapped):
                loss, parts = self.wrapped(batch, scale)
                self.accelerator.backward(loss)
            for name, value in parts.items():
                sums[name] = sums.get(name, 0) + value
        norm = whole(clip_grad_norm_(parameters(self.optimizer), settings.max_gradient_norm))
        measured = total(torch.stack([*sums.values()])).tolist()
        by_part = dict(zip(PARTS, counts, strict=True))
        for name, value in zip(sums, measured, strict=True):
            window.add(name, value, by_part[name.partition("_")[0]])
        window.add("gradient_norm", float(norm))
        window.add("tokens", tokens)
        figures = dict(zip(sums, measured, strict=True)) | {"gradient": float(norm)}
        check_finite(figures, self.step + 1, self.config.output)
        for group in self.optimizer.param_groups:
            group["lr"] = stage.learning_rate(self.step)
        self.optimizer.step()
        self.average.update(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        return max((n for n, some in zip(STOPPING, received, strict=True) if some), default=0)

    def _batches(self, stage: RunStage) -> Iterator[Batch]:
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        return map(self.collators[stage.name], stage.picks(self.step, process, processes))

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.course.ended(self.step) is not None

    def _measured(self, window: Window) -> dict[str, float]:
        means = window.means()
        means.pop("tokens")
        loss = sum(w * means.get(part, 0.0) for part, w in self.objective.weights.items())
        return {
            "loss": loss,
            **means,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "tokens_per_second": window.total("tokens") / window.seconds,
        }

    def _evaluate(self, loggers: Loggers) -> None:
        with self.average.in_place():
            measured = self.evaluation.run()
            reshard(self.objective)
        self._report(loggers, "dev", measured)
        self.saver.best(self.step, measured)

    def _diagnose(self, loggers: Loggers) -> None:
        if self.diagnosis.due(self.step):
            measured = self.diagnosis.run(self.step, self.average.in_place())
            self._report(loggers, "diagnosis", measured)

    def _report(self, loggers: Loggers, what: str, values: dict[str, float]) -> None:
        failures = self.watch.observe(self.step, what, values)
        loggers.record(self.course.moment(self.step), what, values, failures)

    def _keep(self, stage: RunStage) -> None:
        """Writes the model after a stage, where that is wanted."""
        if stage.settings.keep:
            self.saver.model(self.config.output / "stages" / stage.name, self.step)

    def _finish(self) -> Path:
        self.saver.model(self.config.output / "model", self.step)
        return self.config.output / "model"

    @property
    def _device(self) -> torch.device:
        return torch.device(self.accelerator.device)
