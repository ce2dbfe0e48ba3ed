"""A tagger as a graph, and as a runner in torch.

Inputs as ``export.words`` has them, and the states; outputs ``scores`` float32 (T, B, L) and the states, after each
row's last token, or for a bidirectional tagger the forward ones after ``carry_lengths`` tokens. Rows of labels are
decoded outside the graph: what a CRF adds to the scores is in the manifest, and the server needs both for its
probabilities.
"""

from collections.abc import Mapping, Sequence

import torch
from onnx import TensorProto

from seqserve.training.arrays import Array
from seqserve.training.data.labels import scheme_of
from seqserve.training.export.graph import GraphBuilder
from seqserve.training.export.model import ExportedModel, state_specs, tensor_spec
from seqserve.training.export.windows import windowed
from seqserve.training.export.words import (
    CARRY_LENGTHS,
    LENGTHS,
    add_features,
    declare_inputs,
    final_states,
    given_state,
    tokens_and_spellings,
)
from seqserve.training.networks import Tagger
from seqserve.training.tensors import array, long_tensor
from seqserve.v1 import manifest_pb2


def exported(network: Tagger) -> ExportedModel:
    """The graph of a tagger, and what the manifest says of its tensors."""
    build = GraphBuilder()
    two_sided = network.stack.directions == 2
    inputs = declare_inputs(build, spells=network.features.speller is not None, windowed=two_sided)
    features = add_features(build, network.features)
    labels = network.head.out_features
    build.output("scores", TensorProto.FLOAT, ("T", "B", labels))
    if two_sided:
        hidden = windowed(build, "layer", network.stack, features, LENGTHS.name, CARRY_LENGTHS.name)
    else:
        hidden, _ = build.recurrent("layer", network.stack, features, LENGTHS.name, carries_state=True)
    build.linear("scores", network.head, hidden)
    return ExportedModel(
        graph=build.serialized("tagger"),
        inputs=inputs,
        outputs=(tensor_spec("scores", manifest_pb2.TENSOR_ROLE_LABEL_SCORES, ("T", "B", str(labels))),),
        states=state_specs(network.stack),
    )


def labels_record(network: Tagger, names: Sequence[str]) -> manifest_pb2.Labels:
    """What the manifest says of the labels, with the scores of the CRF if there is one."""
    record = manifest_pb2.Labels(names=names, scheme=scheme_of(names))
    if network.crf is not None:
        chain = network.crf()
        record.transitions.extend(array(chain.transitions_LL).flatten().tolist())
        record.start_scores.extend(array(chain.start_L).tolist())
        record.end_scores.extend(array(chain.end_L).tolist())
    return record


class TorchTagger:
    """A trained tagger as a runner: torch, in evaluation mode, without gradients."""

    def __init__(self, network: Tagger) -> None:
        self.network = network.eval()
        self.states = state_specs(network.stack)

    @torch.inference_mode()
    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """``scores``, as the graph gives them at steps that count, and the states that it gives."""
        tokens_TB, lengths_B, spellings = tokens_and_spellings(inputs, self.network.head.weight.device)
        initial = self.network.stack.initial_state(len(lengths_B))
        state = given_state(inputs, self.states, initial)
        carry_B = long_tensor(inputs[CARRY_LENGTHS.name]) if CARRY_LENGTHS.name in inputs else None
        scores_TBL, final = self.network(tokens_TB, lengths_B, spellings, state, carry_B)
        return {"scores": scores_TBL.cpu().numpy(), **final_states(self.states, final)}
