"""Linear layers with weights of 8 bits, for models on a CPU: a quarter of the memory, and faster for it.

Activations stay floats, so that no answer depends on what is computed beside it.
"""

import torch
from torch import nn
from torch.nn import functional

_LARGEST = 127


class Int8Linear(nn.Module):
    """A linear layer whose weights are rounded to 8 bits, with a scale for each output."""

    weight: torch.Tensor
    scales: torch.Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        scales = (weight.abs().amax(dim=1) / _LARGEST).clamp(min=1e-8)
        self.register_buffer("weight", (weight / scales[:, None]).round().to(torch.int8).contiguous())
        # The kernel multiplies in the precision of the scales, and is written for this one.
        self.register_buffer("scales", scales.to(torch.bfloat16))
        self.bias = linear.bias

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Multiply; prompts by turning the weights back into floats, which is faster for many tokens."""
        if states.shape[-2] > 1:
            product = functional.linear(states, self.weight.to(states.dtype)) * self.scales.to(states.dtype)
        else:
            rows = states.reshape(-1, states.shape[-1]).to(torch.bfloat16)
            product = torch.ops.aten._weight_int8pack_mm(rows, self.weight, self.scales)
            product = product.reshape(*states.shape[:-1], -1).to(states.dtype)
        return product if self.bias is None else product + self.bias


def quantize(model: nn.Module) -> None:
    """Replace the linear layers of a model."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:
                setattr(module, name, Int8Linear(child))
