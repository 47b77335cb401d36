"""The package's pytest plugin for test runs of their own, whether or not pytest finds it itself."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

SOURCE = "dp_async.testing._plugin"
#: The plugin's module; an installed wheel has it beside the package alone.
PLUGIN = import_module(SOURCE if find_spec(SOURCE) else "_dp_async_pytest")
#: The arguments that load it from this place alone.
LOADED = ("-p", "no:dp_async", "-p", PLUGIN.__name__, "-p", "no:cacheprovider")
