"""What a streaming service converts: the messages of its callers to tokens, and the engine's outputs to responses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterator
from typing import Any, ClassVar, Generic, TypeVar

from seqserve.server.engine.output_stream import OutputStream, StreamResult
from seqserve.server.engine.requests import StreamRequest
from seqserve.server.model.sequence_state import FinalState
from seqserve.server.text.incremental_tokenizer import IncrementalTokenizer, TokenChunk
from seqserve.v1 import classification_pb2, generation_pb2, state_pb2, tagging_pb2
from seqserve.v1 import common_pb2 as common

MessageT = TypeVar(
    "MessageT",
    bound=tagging_pb2.StreamTagRequest | classification_pb2.StreamClassifyRequest | generation_pb2.StreamScoreRequest,
)
OutputT = TypeVar("OutputT")
ResponseT = TypeVar("ResponseT")


class StreamCodec(ABC, Generic[MessageT, OutputT, ResponseT]):
    """Converts one stream.

    The input side (`chunks` and `final_chunks`) and the output side (`response` and `last_response`) run at the
    same time, each on the event loop or on another thread, and neither twice at a time.

    Attributes:
        request: The stream's request to the engine.
        text: Tokenizes the input.
        passes_flushes: Whether the engine has to answer a flush.
        waits_for_each_message: Whether a message is answered before the next one is read.
    """

    passes_flushes: ClassVar[bool] = False
    waits_for_each_message: ClassVar[bool] = False
    request: StreamRequest
    text: IncrementalTokenizer

    def takes_long(self, kind: str, message: MessageT) -> bool:
        """Returns whether the chunks of a message may take milliseconds, so that another thread has to make them."""
        return self.text.takes_long(message.text if kind == "text" else "")

    @abstractmethod
    def chunks(self, kind: str, message: MessageT) -> Iterator[TokenChunk]:
        """Returns the tokens that a message completes, to be read to the end.

        Args:
            kind: The field of the message that is set.
            message: Not the first one.

        Raises:
            InvalidFieldError: The input is empty, of another kind than before, or has an id outside the vocabulary.
            InputTooLongError: The input is over a limit.
            OutOfVocabularyError: The vocabulary lacks a token. The offset counts from the stream's beginning.
        """

    @abstractmethod
    def final_chunks(self) -> Iterator[TokenChunk]:
        """Returns the tokens that the end of the input completes."""

    @abstractmethod
    def started(self) -> ResponseT:
        """Returns the first response."""

    @abstractmethod
    def take(self, output: OutputStream) -> Coroutine[Any, Any, list[OutputT]]:
        """Waits for the engine's outputs and takes all of them. Empty: the stream has ended."""

    def response_bytes(self, outputs: list[OutputT]) -> int:  # noqa: ARG002 - for those that override it
        """Estimates the size of the response to some outputs, in bytes. Large ones are built off the event loop."""
        return 0

    @abstractmethod
    def response(self, outputs: list[OutputT]) -> ResponseT | None:
        """Returns the response to some outputs. None: there is nothing to report yet."""

    def last_response(self) -> ResponseT | None:
        """Returns what the end of the stream decides. None: nothing was open."""
        return None

    @abstractmethod
    def final_state(self, result: StreamResult) -> FinalState:
        """Returns the state after the stream."""

    @abstractmethod
    def finished(self, result: StreamResult, state: state_pb2.StateResult, reason: common.StreamEnd) -> ResponseT:
        """Returns the final response.

        Args:
            result: How the engine ended the stream.
            state: Where the final state is.
            reason: Why the input ended.
        """
