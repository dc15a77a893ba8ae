"""The model to be trained: loaded, given an adapter or wholly unfrozen, and checked for length."""

from __future__ import annotations

import logging
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from uniconv.config import ModelConfig, TrainConfig, all_objectives, stage_settings
from uniconv.errors import ConfigError
from uniconv.model import Settings, UniConv
from uniconv.pretrained import load_skeleton, read_settings, resolve
from uniconv.templates import Limits, Template, load_template
from uniconv.training.freezing import freeze
from uniconv.types import Passage

log = logging.getLogger(__name__)

USUAL_MODULES = ("q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The layers that ChatRetriever adapts, by their names in the Llama family."""


def load_trainable(config: TrainConfig, device: torch.device, bf16: bool) -> UniConv:
    """The model of a configuration, ready to be trained.

    Weights that are trained are float32; a frozen backbone is bfloat16 where ``bf16`` is set.

    Raises:
        ConfigError: an adapter's layer doesn't exist.
        ModelError: the model can't be loaded.
    """
    model = UniConv.from_pretrained(
        config.model.path,
        template=config.model.template,
        settings=Settings(config.model.pooling, all_objectives(config).temperature),
        limits=_limits(config.model),
        device=str(device),
        dtype=torch.bfloat16 if bf16 and config.model.method == "lora" else torch.float32,
        trust_remote_code=config.model.trust_remote_code,
        four_bits=config.model.quantise == "4bit",
    )
    torch.manual_seed(config.optimisation.seed)  # an adapter's weights begin at random
    unfreeze(model, config.model)
    freeze(model, config.model)
    if config.optimisation.gradient_checkpointing:
        model.lm.gradient_checkpointing_enable({"use_reentrant": False})
    return model


def check_backbone(config: TrainConfig) -> None:
    """Finds what is wrong with the settings of the model before its weights are loaded.

    Raises:
        ConfigError: an adapter's or frozen layer doesn't exist, or the context is too short.
        ModelError: there is no such model.
        TemplateError: its chat format can't be used.
    """
    settings, source = config.model, resolve(config.model.path)
    network, tokenizer = load_skeleton(source, settings.trust_remote_code)
    saved = read_settings(source).get("template")
    template = load_template(tokenizer, settings.template, saved, _limits(settings))
    model = UniConv(network, tokenizer, template)
    check_length(model, template, config, settings.path)
    unfreeze(model, settings)
    freeze(model, settings)


def _limits(config: ModelConfig) -> Limits:
    return Limits(config.conversation_tokens, config.passage_tokens, config.response_tokens)


def unfreeze(model: UniConv, config: ModelConfig) -> None:
    """Makes the parameters trainable that ``method`` says, adding an adapter if need be."""
    if config.method == "full":
        if isinstance(model.network, PeftModel):
            model.network = model.network.merge_and_unload()
        model.network.requires_grad_(True)
    elif isinstance(model.network, PeftModel):
        for name, parameter in model.network.named_parameters():
            parameter.requires_grad_("lora_" in name or "modules_to_save" in name)
        model.network.active_peft_config.inference_mode = False
    else:
        lora = LoraConfig(
            r=config.adapter.rank,
            lora_alpha=config.adapter.alpha,
            lora_dropout=config.adapter.dropout,
            target_modules=_target_modules(model.network, config.adapter.modules),
            task_type="CAUSAL_LM",
        )
        model.network = get_peft_model(model.network, lora)
    if model.lm.dtype != torch.float32:
        _leave_casting_to_autocast(model.network)


def _leave_casting_to_autocast(network: nn.Module) -> None:
    """Keeps the inputs of float32 adapters over bfloat16 weights in bfloat16 under autocast.

    PEFT makes them float32, and autocast bfloat16 again: of all that a step moves through memory
    that would be a large part.
    """

    def choose(layer: Any, inputs: tuple[Tensor, ...]) -> None:
        layer.cast_input_dtype_enabled = not torch.is_autocast_enabled(inputs[0].device.type)

    for layer in network.modules():
        if isinstance(layer, LoraLayer) and isinstance(layer, nn.Module):
            layer.register_forward_pre_hook(choose)


def _target_modules(network: nn.Module, wanted: tuple[str, ...]) -> list[str] | str:
    linear = {
        name.rpartition(".")[2]
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
    }
    if not wanted:
        if linear.issuperset(USUAL_MODULES):
            return list(USUAL_MODULES)
        log.info("the backbone names its layers unusually: every linear layer gets an adapter")
        return "all-linear"
    unknown = sorted(set(wanted) - linear)
    if unknown:
        raise ConfigError(
            f"model.adapter.modules: the backbone has no layer {', '.join(unknown)}; it has "
            f"{', '.join(sorted(linear))}"
        )
    return list(wanted)


def check_length(model: UniConv, template: Template, config: TrainConfig, name: str) -> None:
    """Refuses limits under which a template's sequence could be longer than the LM's context."""
    if model.max_positions is None:
        return
    limits, weights = template.limits, all_objectives(config).read
    longest = limits.conversation + limits.response + len(template.answer_suffix())
    shown = 1 if weights.alpha else 0
    if config.data.shows_others(weights):
        shown = config.data.grounded_passages
    if shown:
        empty = template.answer_suffix([Passage("", "")] * shown)
        longest = limits.conversation + shown * limits.passage + len(empty)
        stages = [stage.used for stage in stage_settings(config)]
        scored = any(one.alpha and one.cii == "likelihoods" for one in stages)
        longest += limits.response if weights.gamma or scored else 0
    if longest > model.max_positions:
        raise ConfigError(
            f"model: a sequence may take {longest} tokens, but {name} reads "
            f"{model.max_positions}; lower model.conversation_tokens ({limits.conversation}), "
            f"passage_tokens ({limits.passage}), response_tokens ({limits.response}) or "
            f"data.grounded_passages ({config.data.grounded_passages})"
        )


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Trainable parameters for AdamW: decay on matrices, none on biases and norms."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
