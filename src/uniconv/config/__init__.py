"""Settings as dataclasses, read strictly from YAML; nothing heavy is imported here.

config = load_config("train.yaml")    # or TrainConfig(...), or flags on the command line
check_config(config)                  # ranges, combinations and files, before any model is loaded
"""

from __future__ import annotations

from uniconv.config.distillation import Distillation
from uniconv.config.mining import Filters, MiningConfig, QueryForm, Refresh
from uniconv.config.objectives import ObjectiveChanges, Objectives, between
from uniconv.config.sources import Source, located
from uniconv.config.stages import Stage, StageSettings, all_objectives, stage_settings
from uniconv.config.studies import (
    AblationConfig,
    AlphaConfig,
    ConsistencyConfig,
    Judging,
    OverfitConfig,
    OverheadConfig,
    Trainings,
    VariantName,
    load_study,
)
from uniconv.config.training import (
    Adapter,
    Checkpoints,
    DataConfig,
    ModelConfig,
    Optimisation,
    Reporting,
    TrainConfig,
    check_config,
    config_from,
    load_config,
    plain,
)

__all__ = [
    "AblationConfig",
    "Adapter",
    "AlphaConfig",
    "Checkpoints",
    "ConsistencyConfig",
    "DataConfig",
    "Distillation",
    "Filters",
    "Judging",
    "MiningConfig",
    "ModelConfig",
    "ObjectiveChanges",
    "Objectives",
    "Optimisation",
    "OverfitConfig",
    "OverheadConfig",
    "QueryForm",
    "Refresh",
    "Reporting",
    "Source",
    "Stage",
    "StageSettings",
    "TrainConfig",
    "Trainings",
    "VariantName",
    "all_objectives",
    "between",
    "check_config",
    "config_from",
    "load_config",
    "load_study",
    "located",
    "plain",
    "stage_settings",
]
