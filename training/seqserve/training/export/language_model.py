"""A language model as a graph, and as a runner in torch.

Inputs ``tokens`` int32 (T, B), ``lengths`` int32 (B) and the states; outputs ``logits`` float32 (T, B, V) and the
states after each row's last token.
"""

from collections.abc import Mapping

import torch
from onnx import TensorProto

from seqserve.training.arrays import Array
from seqserve.training.export.graph import GraphBuilder
from seqserve.training.export.model import ExportedModel, state_specs, tensor_spec
from seqserve.training.networks import LanguageModel
from seqserve.training.runner import STATE_OUTPUT_SUFFIX
from seqserve.training.tensors import long_tensor, tensor
from seqserve.v1 import manifest_pb2


def exported(network: LanguageModel) -> ExportedModel:
    """The graph of a language model, and what the manifest says of its tensors."""
    build = GraphBuilder()
    tokens = build.input("tokens", TensorProto.INT32, ("T", "B"))
    lengths = build.input("lengths", TensorProto.INT32, ("B",))
    embedded = build.lookup("embedding", network.embedding, tokens)
    build.output("logits", TensorProto.FLOAT, ("T", "B", network.head.out_features))
    hidden, _ = build.recurrent("layer", network.stack, embedded, lengths, carries_state=True)
    build.linear("logits", network.head, hidden)
    return ExportedModel(
        graph=build.serialized("language_model"),
        inputs=(
            tensor_spec("tokens", manifest_pb2.TENSOR_ROLE_TOKENS, ("T", "B")),
            tensor_spec("lengths", manifest_pb2.TENSOR_ROLE_LENGTHS, ("B",)),
        ),
        outputs=(
            tensor_spec("logits", manifest_pb2.TENSOR_ROLE_TOKEN_LOGITS, ("T", "B", str(network.head.out_features))),
        ),
        states=state_specs(network.stack),
    )


class TorchLanguageModel:
    """A trained language model as a runner: torch, in evaluation mode, without gradients."""

    def __init__(self, network: LanguageModel) -> None:
        self.network = network.eval()
        self.state_names = network.stack.state_names

    @torch.inference_mode()
    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """``logits`` and final states, as the graph gives them."""
        tokens_TB, lengths_B = inputs["tokens"], inputs["lengths"]
        device = self.network.head.weight.device
        padded = bool((lengths_B < len(tokens_TB)).any())
        state = tuple(tensor(inputs[name], device) for name in self.state_names)
        logits_TBV, final = self.network(tensor(tokens_TB, device), long_tensor(lengths_B) if padded else None, state)
        states = {
            name + STATE_OUTPUT_SUFFIX: value.cpu().numpy() for name, value in zip(self.state_names, final, strict=True)
        }
        return {"logits": logits_TBV.cpu().numpy(), **states}
