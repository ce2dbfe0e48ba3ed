"""A classifier as a graph, and as a runner in torch.

Inputs as ``export.words`` has them, and the states of a one-directional classifier; outputs ``logits`` float32 (B, L)
and the states after each row's last token. The states hold all that the answer needs of the past, so a sequence that
comes in pieces gets after each piece the answer to all that came so far.
"""

from collections.abc import Mapping

import torch
from onnx import TensorProto

from seqserve.training.arrays import Array
from seqserve.training.export.graph import GraphBuilder
from seqserve.training.export.model import ExportedModel, state_specs, tensor_spec
from seqserve.training.export.pooling import pool_states, pooled
from seqserve.training.export.words import (
    LENGTHS,
    add_features,
    declare_inputs,
    final_states,
    given_state,
    tokens_and_spellings,
)
from seqserve.training.networks import Classifier
from seqserve.v1 import manifest_pb2


def exported(network: Classifier) -> ExportedModel:
    """The graph of a classifier, and what the manifest says of its tensors."""
    build = GraphBuilder()
    inputs = declare_inputs(build, spells=network.features.speller is not None)
    states = carried_states(network)
    features = add_features(build, network.features)
    labels = network.head.out_features
    build.output("logits", TensorProto.FLOAT, ("B", labels))
    hidden, _ = build.recurrent("layer", network.stack, features, LENGTHS.name, carries_state=bool(states))
    build.linear("logits", network.head, pooled(build, network.pool, network.stack, hidden))
    return ExportedModel(
        graph=build.serialized("classifier"),
        inputs=inputs,
        outputs=(tensor_spec("logits", manifest_pb2.TENSOR_ROLE_CLASS_LOGITS, ("B", str(labels))),),
        states=states,
    )


def carried_states(network: Classifier) -> tuple[manifest_pb2.StateSpec, ...]:
    """The states of a one-directional classifier, of its stack and of its pooling; none for a bidirectional one."""
    return state_specs(network.stack) + pool_states(network.pool) if network.stack.directions == 1 else ()


class TorchClassifier:
    """A trained classifier as a runner: torch, in evaluation mode, without gradients."""

    def __init__(self, network: Classifier) -> None:
        self.network = network.eval()
        self.states = carried_states(network)

    @torch.inference_mode()
    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """``logits`` and final states, as the graph gives them."""
        tokens_TB, lengths_B, spellings = tokens_and_spellings(inputs, self.network.head.weight.device)
        initial = self.network.initial_state(len(lengths_B))
        state = given_state(inputs, self.states, initial)
        logits_BL, final = self.network(tokens_TB, lengths_B, spellings, state)
        return {"logits": logits_BL.cpu().numpy(), **final_states(self.states, final)}
