"""Steps of the exercise deadline."""

import os
import time
import unittest

from deadline import run

HINTS = [
    "communicate sends the text and collects the output",
    "communicate takes a timeout and raises subprocess.TimeoutExpired",
    "look at process.returncode; 0 is falsy",
    "terminate() asks, and can be ignored; kill() does not ask",
    "after kill(), communicate() or wait(): until then the dead process is a zombie",
    "cut with a slice",
    "subprocess.PIPE for stdin; give the text to communicate, and do not write it yourself",
]
IGNORES = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"


class Deadline(unittest.TestCase):
    def test_output(self) -> None:
        """What is printed comes back."""
        self.assertEqual(run("print(input()[::-1])", "abc\n", 5), {"output": "cba\n"})

    def test_timeout(self) -> None:
        """An endless loop ends at the deadline."""
        started = time.perf_counter()
        self.assertEqual(
            run("import time\nfor _ in range(4): time.sleep(0.1)", "", 0.2), {"error": "timed out after 0.2 s"}
        )
        self.assertLess(time.perf_counter() - started, 2)

    def test_exit(self) -> None:
        """A crash is an outcome."""
        self.assertEqual(run("raise SystemExit(3)", "", 5), {"error": "exit code 3"})
        self.assertEqual(run("import os; os.abort()", "", 5), {"error": "exit code -6"})

    def test_ignores(self) -> None:
        """Nobody can ignore it."""
        code = IGNORES + "import time\nfor _ in range(4): time.sleep(0.1)"
        self.assertEqual(run(code, "", 0.2), {"error": "timed out after 0.2 s"})

    def test_buried(self) -> None:
        """Nothing is left behind, not even a zombie."""
        run("import time; time.sleep(0.3)", "", 0.1)
        with self.assertRaises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    def test_cut(self) -> None:
        """Output is cut at its limit."""
        self.assertEqual(run("print('x' * 100_000)", "", 5), {"output": "x" * 1_000})

    def test_large(self) -> None:
        """A quarter of a megabyte in and out does not stop in the middle."""
        outcome = run("import sys\nfor line in sys.stdin: print(line, end='')", "line\n" * 60_000, 8)
        self.assertEqual(outcome, {"output": "line\n" * 200})
