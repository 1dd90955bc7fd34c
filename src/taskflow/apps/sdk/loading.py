"""Finding an app by its name, `shop.jobs:app`, with one clear line for everything that can be wrong about it."""

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path

from taskflow.apps.sdk.app import TaskFlow
from taskflow.kernel.errors import SetupError


def load_app(name: str) -> TaskFlow:
    """
    Import a module, looked for in the working directory first, and return the app in it.

    Raises:
        SetupError: the name has another form, the module cannot be found or imported, or holds no such app.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not attribute.isidentifier() or not all(part.isidentifier() for part in module_name.split(".")):
        raise SetupError(f"--app must be MODULE:NAME, such as shop.jobs:app, got {name!r}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise SetupError(
                f"--app {name}: there is no module {error.name!r} here ({here}) or among the installed packages"
            ) from None
        raise SetupError(_import_failed(name, error)) from error
    except Exception as error:  # the application's own code
        raise SetupError(_import_failed(name, error)) from error
    found = getattr(module, attribute, None)
    if found is None:
        known = sorted(key for key, value in vars(module).items() if isinstance(value, TaskFlow))
        hint = f"; it has {', '.join(known)}" if known else "; it holds no TaskFlow()"
        raise SetupError(f"--app {name}: module {module_name!r} has no {attribute!r}{hint}")
    if not isinstance(found, TaskFlow):
        raise SetupError(f"--app {name}: {attribute!r} is a {type(found).__name__}, not a TaskFlow")
    found.check()
    return found


def _import_failed(name: str, error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(last.filename).name}, line {last.lineno}"
    return f"--app {name}: importing it failed: {type(error).__name__}: {error} ({where})"
