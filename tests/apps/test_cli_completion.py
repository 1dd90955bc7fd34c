"""Shell completion: what the scripts are, and what they are answered."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.operator import SOURCE

SHELLS = ("bash", "zsh", "fish")


def taskflow(*words: str, **environ: str) -> str:
    """Run the command line as a process of its own, with no database anywhere."""
    done = subprocess.run(
        [sys.executable, "-m", "taskflow", *words],
        env={"PYTHONPATH": str(SOURCE), "PATH": os.environ["PATH"], "HOME": "/nonexistent", **environ},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout


def complete(shell: str, line: str) -> list[str]:
    """Ask as the script of *shell* does, with the cursor at the end of *line*."""
    environ = {"_TASKFLOW_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": line}
    if shell == "fish":
        environ["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    if shell == "bash":
        words = line.split(" ")
        environ |= {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    return taskflow(**environ).split("\n")


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_a_script_and_answers(shell: str) -> None:
    script = taskflow("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert f"_TASKFLOW_COMPLETE=complete_{shell}" in script
    assert any("retrying" in answer for answer in complete(shell, "taskflow jobs list --status re"))


@pytest.mark.slow
def test_values_are_offered_that_are_known_without_looking() -> None:
    assert complete("bash", "taskflow jobs submit send_email {} --priority h") == ["high", ""]
    assert complete("bash", "taskflow jobs submit se") == ["send_email", ""]


@pytest.mark.slow
def test_bash_completes_commands_with_the_installed_script(tmp_path: Path) -> None:
    command = tmp_path / "taskflow"
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{SOURCE}" exec "{sys.executable}" -m taskflow "$@"\n')
    command.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    script = (
        'eval "$(taskflow --show-completion)"; '
        "COMP_WORDS=(taskflow jobs can); COMP_CWORD=2; _taskflow_completion taskflow; "
        'printf "%s\\n" "${COMPREPLY[@]}"; complete -p taskflow'
    )
    done = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True, check=False, timeout=30)
    assert done.stdout.splitlines()[0] == "cancel", done.stderr
    install = ["bash", "-c", "taskflow --install-completion && true"]  # bash stays, to be found as the shell
    installed = subprocess.run(install, env=environ, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr
    assert (tmp_path / ".bash_completions" / "taskflow.sh").read_text()
    assert "taskflow.sh" in (tmp_path / ".bashrc").read_text()
