"""Standard error in every state it may be in: nothing is raised, and nothing fails at exit."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from klamp.runtime import streams
from klamp.runtime.streams import open_standard_files, patient


def closed_file() -> io.StringIO:
    file = io.StringIO()
    file.close()
    return file


class Full(io.StringIO):
    """Takes so many texts, then none."""

    def __init__(self, texts: int) -> None:
        super().__init__()
        self.left, self.tries = texts, 0

    def write(self, text: str) -> int:
        self.tries += 1
        if self.tries > self.left:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_what_is_taken_is_handed_on_and_then_nothing_is_tried() -> None:
    file = Full(2)
    stream = patient(file)
    for text in ("a", "b", "c", "d"):
        assert stream.write(text) == 1
        stream.flush()
    assert file.getvalue() == "ab"
    assert file.tries == 3


def test_output_is_silent_for_a_while_below_python_too(capfd: pytest.CaptureFixture[str]) -> None:
    print("before")
    with streams.silenced(1):
        os.write(1, b"Rank 0 is connected\n")
    print("after")
    assert capfd.readouterr().out == "before\nafter\n"


@pytest.mark.parametrize("make", [closed_file, lambda: None])
def test_a_stream_that_is_none_is_silent(make) -> None:
    stream = patient(make())
    print("text", file=stream, flush=True)
    assert not stream.isatty()


def test_the_rest_is_the_streams_own() -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    stream = patient(file)
    assert stream.encoding == "latin-1"
    assert patient(stream) is stream


WARN = """
import contextlib, sys, warnings
from klamp.runtime.streams import patient_stderr
sys.stderr.close()
with {context}:
    warnings.warn("unseen")
"""


@pytest.mark.parametrize(
    ("context", "code"), [("patient_stderr()", 0), ("contextlib.nullcontext()", 1)]
)
def test_a_warning_to_a_closed_stream_is_lost_and_no_more(context: str, code: int) -> None:
    program = WARN.format(context=context)
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == code


@pytest.fixture
def broken(request: pytest.FixtureRequest) -> Iterator[int]:
    """A file number that takes nothing."""
    if request.param == "full":
        number = os.open("/dev/full", os.O_WRONLY)
    else:
        reading, number = os.pipe()
        os.close(reading)
    yield number
    os.close(number)


PROGRAM = """
import sys
from klamp.runtime.streams import patient_stderr
with patient_stderr():
    for n in range(1000):
        print("line", n, file=sys.stderr)
sys.exit(7)
"""


@pytest.mark.parametrize("broken", ["full", "gone"], indirect=True)
def test_the_exit_code_is_the_programs(broken: int) -> None:
    """What is left in a buffer at exit would make it 120."""
    assert (
        subprocess.run([sys.executable, "-c", PROGRAM], stderr=broken, check=False).returncode == 7
    )


def test_no_file_takes_the_place_of_a_closed_stream() -> None:
    program = (
        "import os; os.close(2); os.close(1)\n"
        "from klamp.runtime.streams import open_standard_files as o\n"
        "o(); os._exit(os.open(os.devnull, os.O_RDONLY))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 3
    before = len(os.listdir("/dev/fd"))
    open_standard_files()
    assert len(os.listdir("/dev/fd")) == before
