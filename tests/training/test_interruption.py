import os
import signal

import pytest

from seqserve.training.errors import InterruptedRunError
from seqserve.training.interruption import interruption
from seqserve.training.loop import Trainer
from seqserve.training.progress import Stepped, Validated
from tests.training.learners import Line, config, fit


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_step_end_and_the_run_save(number: signal.Signals) -> None:
    class Kill:
        def stepped(self, event: Stepped) -> None:
            if event.step == 2:
                os.kill(os.getpid(), number)

        def validated(self, event: Validated) -> None:
            del event

    saved = list[int]()
    trainer = Trainer(Line([2.0, 1.0, 1.5]), config())
    message = rf"stopped by {number.name} after step 3; the same command with --resume goes on"
    with interruption() as asked, pytest.raises(InterruptedRunError, match=message):
        fit(trainer, save=lambda: saved.append(trainer.standing.step), watch=Kill(), asked=asked)
    assert saved == [2, 3]


def test_a_second_interrupt_ends_the_run_at_once_and_what_was_before_comes_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruption() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        assert asked.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
