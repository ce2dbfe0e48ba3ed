"""An infilling model as a graph, and as a runner in torch.

Inputs ``tokens`` int32 (T, B), ``lengths`` int32 (B), and the states of a one-directional model; outputs ``logits``
float32 (T, B, V), of the token itself at each place, and the states after each row's last token.
"""

from collections.abc import Mapping

import torch
from onnx import TensorProto

from seqserve.training.arrays import Array
from seqserve.training.export.graph import GraphBuilder
from seqserve.training.export.model import ExportedModel, state_specs, tensor_spec
from seqserve.training.export.nodes import integers
from seqserve.training.export.rows import at_step, initial_rows
from seqserve.training.export.words import (
    LENGTHS,
    TOKENS,
    declare_inputs,
    final_states,
    given_state,
    tokens_and_spellings,
)
from seqserve.training.networks import Infiller
from seqserve.training.runner import STATE_OUTPUT_SUFFIX
from seqserve.v1 import manifest_pb2, state_pb2

CONTEXT = "context"
"""State of a unidirectional model: the context before the next token."""


def exported(network: Infiller) -> ExportedModel:
    """The graph of an infilling model, and what the manifest says of its tensors."""
    build = GraphBuilder()
    inputs = declare_inputs(build, spells=False)
    states = carried_states(network)
    vocabulary = network.head.out_features
    build.output("logits", TensorProto.FLOAT, ("T", "B", vocabulary))
    x = build.lookup("embedding", network.embedding, TOKENS.name)
    before = _known_before(build, network, x, carries_state=bool(states))
    context = before if network.backward_stack is None else _both_sides(build, network, x, before)
    middle = build.node("Tanh", [build.linear("middle", network.middle, context)], "middle.tanh")
    build.linear("logits", network.head, middle)
    return ExportedModel(
        graph=build.serialized("infilling"),
        inputs=inputs,
        outputs=(tensor_spec("logits", manifest_pb2.TENSOR_ROLE_TOKEN_LOGITS, ("T", "B", str(vocabulary))),),
        states=states,
    )


def _known_before(build: GraphBuilder, network: Infiller, x: str, *, carries_state: bool) -> str:
    """What the forward stack knew before each token: (T, B, H)."""
    size = network.stack.hidden_size
    steps, _ = build.recurrent("forward", network.stack, x, LENGTHS.name, carries_state=carries_state)
    if carries_state:
        first = build.input(CONTEXT, TensorProto.FLOAT, (1, "B", size))
    else:
        first = initial_rows(build, "before.nothing", LENGTHS.name, size, 0.0)
    known = build.node("Concat", [first, steps], "before.known", axis=0)
    if carries_state:
        at_step(build, f"{CONTEXT}{STATE_OUTPUT_SUFFIX}", known, LENGTHS.name)
        build.output(f"{CONTEXT}{STATE_OUTPUT_SUFFIX}", TensorProto.FLOAT, (1, "B", size))
    return _but_the_last(build, "before", known)


def _both_sides(build: GraphBuilder, network: Infiller, x: str, before: str) -> str:
    """The context from both sides (T, B, 2 H): the backward stack reads each row from its end."""
    if network.backward_stack is None:
        raise ValueError("a one-directional network has no other side")
    lengths = build.node("Cast", [LENGTHS.name], "after.lengths", to=TensorProto.INT64)
    turned = build.node("ReverseSequence", [x, lengths], "after.x", time_axis=0, batch_axis=1)
    steps, _ = build.recurrent("backward", network.backward_stack, turned, LENGTHS.name, carries_state=False)
    first = initial_rows(build, "after.nothing", LENGTHS.name, network.stack.hidden_size, 0.0)
    known = build.node("Concat", [first, steps], "after.known", axis=0)
    late = _but_the_last(build, "after.late", known)
    after = build.node("ReverseSequence", [late, lengths], "after", time_axis=0, batch_axis=1)
    return build.node("Concat", [before, after], "both", axis=2)


def _but_the_last(build: GraphBuilder, name: str, known: str) -> str:
    zero, minus_one = build.constant(f"{name}.from", integers([0])), build.constant(f"{name}.to", integers([-1]))
    return build.node("Slice", [known, zero, minus_one, zero], name)


def carried_states(network: Infiller) -> tuple[manifest_pb2.StateSpec, ...]:
    """The states of a one-directional model; none for one that reads from both sides."""
    if network.backward_stack is not None:
        return ()
    context = manifest_pb2.StateSpec(
        name=CONTEXT,
        input=CONTEXT,
        output=CONTEXT + STATE_OUTPUT_SUFFIX,
        element_type=state_pb2.ELEMENT_TYPE_FLOAT32,
        directions=1,
        size=network.stack.hidden_size,
    )
    return (*state_specs(network.stack), context)


class TorchInfiller:
    """A trained infilling model as a runner: torch, in evaluation mode, without gradients."""

    def __init__(self, network: Infiller) -> None:
        self.network = network.eval()
        self.states = carried_states(network)

    @torch.inference_mode()
    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """``logits``, as the graph gives them at steps that count, and final states."""
        tokens_TB, lengths_B, _ = tokens_and_spellings(inputs, self.network.head.weight.device)
        state = given_state(inputs, self.states, self.network.initial_state(len(lengths_B)))
        logits_TBV, final = self.network(tokens_TB, lengths_B, state)
        return {"logits": logits_TBV.cpu().numpy(), **final_states(self.states, final)}
