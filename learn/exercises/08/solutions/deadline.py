"""A deadline that holds."""

import subprocess
import sys

OUTPUT_LIMIT = 1_000  # characters


def run(code: str, text: str, timeout_s: float) -> dict[str, str]:
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        output, _ = process.communicate(text, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()  # waits for its end, and closes the pipes
        return {"error": f"timed out after {timeout_s:g} s"}
    if process.returncode:
        return {"error": f"exit code {process.returncode}"}
    return {"output": output[:OUTPUT_LIMIT]}
