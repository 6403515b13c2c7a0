"""Parts that installed packages bring: embedders, indexes, generators and watermarkers.

A package registers a factory under one of the entry-point groups ``rag_audio.embedders``,
``rag_audio.indexes``, ``rag_audio.generators`` and ``rag_audio.watermarkers``. Settings name it,
with an argument for the factory after a colon: ``NAME`` or ``NAME:ARGUMENT``. What each factory
is called with and must return stands in ``docs/plugins.md``; :mod:`rag_audio.testing` tests it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal, cast

from rag_audio.domain.ports import Embedder, Generator, StemIndex, Watermarker
from rag_audio.errors import BackendUnavailable, ConfigError, RagAudioError
from rag_audio.resources import data_dir

Kind = Literal["embedder", "index", "generator", "watermarker"]
_KINDS: dict[Kind, tuple[str, str, type]] = {
    "embedder": ("rag_audio.embedders", "RAG_AUDIO_EMBEDDER", Embedder),
    "index": ("rag_audio.indexes", "RAG_AUDIO_INDEX", StemIndex),
    "generator": ("rag_audio.generators", "RAG_AUDIO_MODEL or --model", Generator),
    "watermarker": ("rag_audio.watermarkers", "RAG_AUDIO_WATERMARKER", Watermarker),
}
"""Group of entry points, the setting that names one, and the port."""


@dataclass(frozen=True)
class Plugin:
    """A part that an installed package brings.

    Attributes:
        argument: what stands after the colon where it was named; may be empty.
    """

    kind: Kind
    entry: EntryPoint
    argument: str = ""

    @property
    def distribution(self) -> str:
        """Name and version of the package."""
        found = self.entry.dist
        return "an unknown package" if found is None else f"{found.name} {found.version}"

    def load(self) -> Callable[..., Any]:
        """The factory.

        Raises:
            BackendUnavailable: it cannot be imported, or is not callable.
        """
        try:
            factory = self.entry.load()
        except Exception as error:  # code of others may raise anything; it is reported as one line
            raise self._broken("cannot be loaded", error) from error
        if not callable(factory):
            raise self._broken(f"is {self.entry.value}, which cannot be called")
        return cast("Callable[..., Any]", factory)

    def make(self, **given: Any) -> Any:
        """What the factory makes.

        Raises:
            BackendUnavailable: it is broken, or what it makes lacks a member of the port.
            RagAudioError: whatever of our own errors the factory raises.
        """
        factory = self.load()
        try:
            made = factory(self.argument, **given)
        except RagAudioError:
            raise
        except Exception as error:  # as above
            raise self._broken("cannot be made", error) from error
        lacking = [name for name in _members(_KINDS[self.kind][2]) if not hasattr(made, name)]
        if lacking:
            raise self._broken(f"makes a {type(made).__name__} without {', '.join(lacking)}")
        return made

    def _broken(self, what: str, error: Exception | None = None) -> BackendUnavailable:
        said = "" if error is None else f": {type(error).__name__}: {error}".splitlines()[0]
        return BackendUnavailable(
            f"the {self.kind} {self.entry.name!r} of the package {self.distribution} {what}{said}",
            hint=f"upgrade or uninstall that package, or choose another: {_KINDS[self.kind][1]}",
        )


def installed() -> list[Plugin]:
    """All plugins of this environment, by kind and name; none of them is imported."""
    return [
        Plugin(kind, entry)
        for kind, (group, _, _) in _KINDS.items()
        for entry in sorted(entry_points(group=group), key=lambda entry: entry.name)
    ]


def find(kind: Kind, named: str) -> Plugin | None:
    """The plugin that ``NAME`` or ``NAME:ARGUMENT`` names.

    Returns:
        None: no package brings that name, or a file or an embedded model has it.

    Raises:
        ConfigError: several packages bring it.
    """
    if _is_local(named):
        return None
    name, _, argument = named.partition(":")
    found = [
        Plugin(kind, entry, argument)
        for entry in entry_points(group=_KINDS[kind][0])
        if entry.name == name
    ]
    if len(found) > 1:
        packages = " and ".join(sorted(plugin.distribution for plugin in found))
        raise ConfigError(
            f"the {kind} {name!r} is provided by {packages}", hint="uninstall all but one"
        )
    return found[0] if found else None


def require(kind: Kind, named: str, built_in: str) -> Plugin:
    """As :func:`find`, where nothing else can be meant.

    Raises:
        ConfigError: no package brings that name, or several do.
    """
    found = find(kind, named)
    if found is None:
        raise ConfigError(
            f"no {kind} is called {named!r}",
            hint=f"set {_KINDS[kind][1]} to {built_in}, or install the package that provides it",
        )
    return found


def _is_local(named: str) -> bool:
    """Whether it is a file, a folder or an embedded model: those go before plugins."""
    return Path(named).expanduser().exists() or (data_dir("models") / named).is_dir()


def _members(port: type) -> list[str]:
    """Attributes and methods that a port asks for."""
    methods = [name for name, value in vars(port).items() if callable(value)]
    return [name for name in (*port.__annotations__, *methods) if not name.startswith("_")]
