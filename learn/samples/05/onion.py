"""What stands before `proceed` sees the question; what stands after it sees the answer."""

from collections.abc import Callable
from functools import partial

Handler = Callable[[str], str]


def outer(question: str, proceed: Handler) -> str:
    print("outer: question", question)
    answer = proceed(question)
    print("outer: answer", answer)
    return answer.upper()


def inner(question: str, proceed: Handler) -> str:
    print("  inner: question", question)
    answer = proceed(question + "?")
    print("  inner: answer", answer)
    return answer


chain = partial(outer, proceed=partial(inner, proceed=lambda question: f"echo {question}"))
print(chain("who"))
