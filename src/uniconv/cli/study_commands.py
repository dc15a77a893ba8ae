"""What ``uniconv study`` takes. Heavy imports happen inside."""

from __future__ import annotations

import sys
from pathlib import Path

from tyro.conf import Positional
from tyro.extras import SubcommandApp

from uniconv.config import OverfitConfig

study = SubcommandApp()


@study.command
def overfit(config: OverfitConfig) -> None:
    """Learn one turn by heart: the first thing to try with a new backbone."""
    from uniconv.cli.terminal import loss_progress
    from uniconv.studies.overfit import overfit

    with loss_progress(config.steps) as progress:
        report = overfit(config, progress)
    print(report)
    if not report.learned:
        sys.exit(1)


@study.command
def ablation(config: Positional[Path], set: tuple[str, ...] = ()) -> None:
    """Train without each part of the joint objective, and measure what it was worth.

    Args:
        config: A YAML file (docs/studies.md); run again, a study goes on where it stopped.
        set: Settings that override the file's, such as seeds=[0].
    """
    from uniconv.config import AblationConfig, load_study

    settings = load_study(config, AblationConfig, set)
    from uniconv.studies.ablation import ablation

    ablation(settings)


@study.command
def alpha(config: Positional[Path], set: tuple[str, ...] = ()) -> None:
    """Train with several weights of context identification: retrieval against responses.

    Args:
        config: A YAML file (docs/studies.md); run again, a study goes on where it stopped.
        set: Settings that override the file's, such as alphas=[0,1].
    """
    from uniconv.config import AlphaConfig, load_study

    settings = load_study(config, AlphaConfig, set)
    from uniconv.studies.alpha import alpha

    alpha(settings)


@study.command
def consistency(config: Positional[Path], set: tuple[str, ...] = ()) -> None:
    """Compare one model with a retriever and a generator where passages are ambiguous.

    Args:
        config: A YAML file (docs/studies.md); run again, a study goes on where it stopped.
        set: Settings that override the file's, such as share=0.25.
    """
    from uniconv.config import ConsistencyConfig, load_study

    settings = load_study(config, ConsistencyConfig, set)
    from uniconv.studies.consistency import consistency

    consistency(settings)


@study.command
def overhead(config: Positional[Path], set: tuple[str, ...] = ()) -> None:
    """Measure time, memory and latency of one model against a retriever and a generator.

    Args:
        config: A YAML file (docs/studies.md); run again, a study goes on where it stopped.
        set: Settings that override the file's, such as rounds=5.
    """
    from uniconv.config import OverheadConfig, load_study

    settings = load_study(config, OverheadConfig, set)
    from uniconv.studies.overhead import overhead

    overhead(settings)
