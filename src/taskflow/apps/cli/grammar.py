"""
How commands are declared: plain help, wrong usage in one line, and as little loaded as will do.

Typer's own help and errors come out of Rich, and each of its parameters out of Pydantic: together half a second before
a command has begun. Help is laid out here as plain text instead, and what needs no conversion is not converted.
"""

import inspect
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import typer
from typer.core import TyperCommand, TyperGroup

from taskflow.kernel.interrupts import loaded

# Typer exports no names for these two: what goes wrong in the parser, and the wrong usage among it.
_USAGE_ERROR, _PARSER_ERROR = cast("Sequence[type[Exception]]", typer.BadParameter.__mro__[1:3])
F = TypeVar("F", bound=Callable[..., Any])


class Command(TyperCommand):
    """A command with plain help. All before its own code counts as loading: to convert options may mean an import."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _sparing_conversions(super().get_params(ctx))

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        _write_help(self.help, formatter)

    def invoke(self, ctx: Any) -> Any:
        with loaded():
            return super().invoke(ctx)


class Group(TyperGroup):
    """A group of commands with plain help; as the outermost one, it says in one line what was asked wrongly."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _sparing_conversions(super().get_params(ctx))

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        _write_help(self.help, formatter)

    def main(
        self, args: Sequence[str] | None = None, prog_name: str | None = None, *others: Any, **options: Any
    ) -> Any:
        options["standalone_mode"] = False
        try:
            code = super().main(args, prog_name, *others, **options)
        except typer.Abort:
            typer.echo("taskflow: given up", err=True)
            sys.exit(1)
        except _PARSER_ERROR as error:
            if not isinstance(error, _USAGE_ERROR):
                raise
            typer.echo(_in_one_line(error), err=True)
            sys.exit(2)
        sys.exit(code if isinstance(code, int) else 0)


class Commands(typer.Typer):
    """A table of commands, all of them `Command`s."""

    def __init__(self, name: str | None = None, **options: Any) -> None:
        super().__init__(
            name=name,
            cls=Group,
            no_args_is_help=True,
            rich_markup_mode=None,
            context_settings={"help_option_names": ["-h", "--help"]},
            **options,
        )

    def command(self, name: str | None = None, **options: Any) -> Callable[[F], F]:
        return super().command(name, cls=Command, **options)


def _in_one_line(error: Any) -> str:
    """Return what is wrong and with which command; help that was not asked for stays as long as it is."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return str(error.format_message())
    path = error.ctx.command_path if error.ctx is not None else "taskflow"
    message = " ".join(error.format_message().split()).rstrip(".")
    end = " try" if message.endswith("?") else "; try"
    return f"{path}: {message[:1].lower()}{message[1:]}{end} --help"


def _sparing_conversions(params: list[Any]) -> list[Any]:
    """Let texts, and options that were not given, pass as they are: asking Pydantic would mean to load it."""
    for param in params:
        if param.nargs == 1 and not getattr(param, "multiple", False) and "process_value" not in vars(param):
            param.process_value = _sparing(param, param.process_value)
    return params


def _sparing(param: Any, convert: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    made_of_text = getattr(getattr(param, "type_descriptor", None), "annotation", None)

    def process_value(ctx: Any, value: Any) -> Any:
        if isinstance(value, str) and made_of_text in (str, Path):  # no path here is bound to be there
            value = made_of_text(value)
        elif value is not None or param.required:
            return convert(ctx, value)
        return value if param.callback is None else param.callback(ctx, param, value)

    return process_value


def _write_help(text: str | None, formatter: Any) -> None:
    """Write paragraphs as wide as there is room, indented lines as they are."""
    with formatter.indentation():
        indent = " " * formatter.current_indent
        for paragraph in re.split(r"\n{2,}", inspect.cleandoc(text or "")):
            formatter.write_paragraph()
            if paragraph.startswith("    "):
                formatter.write("".join(f"{indent}{line[2:]}\n" for line in paragraph.split("\n")))
            else:
                formatter.write_text(paragraph)
