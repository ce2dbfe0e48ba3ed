"""A server with scripted answers, for tests of code that uses the client.

It is a real gRPC server on a free loopback port, so that time-outs, cancellation and errors are the real ones; only
what it answers is made up. As it comes it answers `generate` with the prompt, a character a piece, `score` with a
probability of 1/e for every character, `tag` with the label "X" for every word, `classify` with "X", `fill` with
"x", the streams with the same as it comes, and keeps sessions in memory; replace ``on_generate``, ``on_score``,
``on_stream_tag`` and so on with a function of the request, or of the requests as they come, and raise `Failure` in it
to answer with an error.

>>> from seqserve.client import Client
>>> from seqserve.client.testing import ScriptedServer
>>> with ScriptedServer() as server, Client(server.target) as client:
...     client.generate("any", "echo").text()
'echo'
"""

from seqserve.client.testing.failure import Failure
from seqserve.client.testing.scripts import (
    SERVABLE,
    classify_texts,
    echo,
    fill_blanks,
    finished,
    get_one,
    list_one,
    load_one,
    piece,
    score_characters,
    started,
    tag_words,
    unload_one,
)
from seqserve.client.testing.server import Script, ScriptedServer, StreamScript
from seqserve.client.testing.sessions import ScriptedSessions
from seqserve.client.testing.stream_scripts import classify_as_it_comes, score_as_it_comes, tag_as_it_comes

__all__ = [
    "SERVABLE",
    "Failure",
    "Script",
    "ScriptedServer",
    "ScriptedSessions",
    "StreamScript",
    "classify_as_it_comes",
    "classify_texts",
    "echo",
    "fill_blanks",
    "finished",
    "get_one",
    "list_one",
    "load_one",
    "piece",
    "score_as_it_comes",
    "score_characters",
    "started",
    "tag_as_it_comes",
    "tag_words",
    "unload_one",
]
