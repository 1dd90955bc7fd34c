"""Failing on purpose."""

from taskflow.kernel.errors import TaskFlowError


class ForcedFailure(TaskFlowError):
    """The payload asked for a failure (forceFail)."""
