"""The optimizer: AdamW, with a learning rate for each depth of the model and each moment."""

import torch
from torch import nn

from rankers.settings import OptimizationSettings


def adamw(model: nn.Module, settings: OptimizationSettings) -> torch.optim.AdamW:
    """AdamW over what is trained of a model, the learning rate falling with the depth.

    A parameter d layers below the scoring head learns at layer_decay^d of the learning rate
    (Howard & Ruder, ACL 2018, "discriminative fine-tuning").
    """
    groups: dict[int, list[nn.Parameter]] = {}
    depths = parameter_depths(model)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(depths[name], []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": groups[depth], "lr": settings.learning_rate * settings.layer_decay**depth}
            for depth in sorted(groups)
        ],
        weight_decay=settings.weight_decay,
        # As BERT's own: a smaller one turns the rounding noise of parameters that have no gradient,
        # such as the scoring head's bias under a softmax, into full steps.
        eps=1e-6,
        fused=True,
    )


def parameter_depths(model: nn.Module) -> dict[str, int]:
    """How far each parameter is below the scoring head, by name.

    The layers are the longest list of modules. What is not in them lies beneath if it embeds, else
    above.
    """
    lists = {name: m for name, m in model.named_modules() if isinstance(m, nn.ModuleList)}
    stack = max(lists, key=lambda name: len(lists[name]), default="")
    layers = len(lists[stack]) if stack else 0
    depths = {}
    for name, _ in model.named_parameters():
        if stack and name.startswith(f"{stack}."):
            depths[name] = layers - int(name.removeprefix(f"{stack}.").split(".")[0])
        else:
            depths[name] = layers + 1 if "embed" in name else 0
    return depths


def warm_up_and_decay(step: int, steps: int, warm_up: float) -> float:
    """The share of the highest learning rate: it rises over some steps, then falls to zero.

    Args:
        step: how many steps are done.
        steps: how many steps the whole training has.
        warm_up: the share of the steps in which it rises, in [0, 1].
    """
    rising = max(round(steps * warm_up), 1)
    return min((step + 1) / rising, max((steps - step) / max(steps - rising, 1), 0.0))
