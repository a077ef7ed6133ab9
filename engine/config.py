"""Settings: what can be set, where a value came from, and one clear line when it is wrong.

Sources, highest first: the command line, the environment (``ORCHESTRATION__MAX_AGENTS=4``), ``.env`` and ``mi4.toml`` of the
working folder, defaults. This is the only module of the engine that reads the environment. Longer than others because the list of
all settings and the one way of reading them belong together.
"""

from __future__ import annotations

import difflib
import io
import json
import os
import tomllib
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from annotated_types import Ge, Gt, Le
from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core.core_schema import ValidationInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from .errors import SettingsError

CONFIG_FILE = "mi4.toml"
"""The settings file that is read when it lies in the working folder."""
DOTENV_FILE = ".env"
_DELIMITER = "__"
_byte_size = TypeAdapter(ByteSize)


def process_environment() -> dict[str, str]:
    """A copy of this process's environment: the one snapshot, passed on to whoever needs it."""
    return dict(os.environ)


def _parse_size(value: Any) -> Any:
    """``64MiB`` as a number of bytes; what is no text passes."""
    return int(_byte_size.validate_python(value)) if isinstance(value, str) else value


class _Size:
    """Marks a number of bytes, for the text that says what is allowed."""


Size = Annotated[int, BeforeValidator(_parse_size), _Size, Field(ge=4096)]
Percent = Annotated[float, Field(ge=0.0, le=100.0)]
ModuleName = Annotated[str, Field(pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)*$")]


class Section(BaseModel):
    """What all sections have: they are frozen and refuse unknown names, NaN, and a truth value where a number belongs."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_truth_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation is not bool:
            raise ValueError("a truth value is no number")
        return value


class CodexSettings(Section):
    """How agents run, and the switches of the speed features."""

    default_agent: Literal["auto", "codex", "claude", "acp", "simulated"] = Field(
        default="auto",
        description="Who runs a task without a kind; auto chooses nobody, and such a task is refused with what is installed.",
    )
    timeout_seconds: float = Field(default=3600.0, gt=0, description="Seconds that an agent may take for one task.")
    max_retries: int = Field(
        default=3, ge=0, le=1000, description="Attempts of an agent after the first one that failed."
    )
    retry_delay_seconds: float = Field(
        default=10.0, ge=0, description="Seconds before the first retry; doubles with each further one."
    )
    enable_process_reuse: bool = Field(
        default=True, description="Keep worker processes warm; off starts one for every task."
    )
    enable_caching: bool = Field(
        default=True, description="Let a stored result stand in for a task that declares caching."
    )


class OrchestrationSettings(Section):
    """How many workers there are and what they take next."""

    max_agents: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = Field(
        default=3, description="Worker processes, obeyed exactly; auto follows cores and memory."
    )
    min_agents: int = Field(default=0, ge=0, le=1024, description="Worker processes that stay although they idle.")
    worker_timeout: float = Field(default=600.0, gt=0, description="Idle seconds before a warm worker is let go.")
    schedule: Literal["score", "fifo"] = Field(
        default="score", description="Order of the queue: by score, or as added."
    )
    limits: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict, description="How many tasks of a category may run at once, by category."
    )
    on_interrupted: Literal["hold", "requeue", "fail"] = Field(
        default="hold", description="What happens to tasks that were running when the engine died."
    )
    crash_limit: int = Field(default=3, ge=1, description="Lost workers after which a task fails.")
    recycle_after_tasks: int = Field(
        default=10_000, ge=1, description="Tasks after which a worker process is replaced."
    )
    recycle_after_seconds: float = Field(
        default=3600.0,
        ge=0,
        description="Age in seconds at which a worker process is replaced, after its task; 0 is never.",
    )
    recycle_above_bytes: Size = Field(
        default=2**30, description="Memory above which a worker process, with all below it, is replaced after its task."
    )
    max_prefetch: int = Field(
        default=256, ge=1, le=4096, description="Tasks that may wait in a worker; 1 turns it off."
    )
    kill_grace_seconds: float = Field(
        default=5.0, ge=0, le=3600, description="Seconds between asking a task to end and killing it."
    )
    preload: list[ModuleName] = Field(
        default_factory=list, description="Python modules that workers have imported before they start."
    )

    @model_validator(mode="after")
    def _check_order(self) -> OrchestrationSettings:
        if isinstance(self.max_agents, int) and self.min_agents > self.max_agents:
            raise ValueError(f"min_agents {self.min_agents} must not be greater than max_agents {self.max_agents}")
        return self


class CacheSettings(Section):
    """How long results are kept, and how many."""

    ttl_seconds: float = Field(default=7 * 86400.0, ge=0, description="Seconds before a result expires; 0 is never.")
    max_bytes: Size = Field(
        default=256 * 2**20, description="Size of the cache; the least recently used results go first."
    )


class MonitoringSettings(Section):
    """What is measured and from when on it is called a bottleneck."""

    enable_metrics: bool = Field(default=True, description="Measure the run and look for bottlenecks.")
    interval_seconds: float = Field(default=0.5, ge=0.1, le=3600, description="Seconds between two measurements.")
    failure_rate_percent: Percent = Field(
        default=20.0,
        description="Failed tasks, as a share of those that ended, from which on the failure rate is high.",
    )
    failure_rate_minimum: int = Field(default=5, ge=1, description="Ended tasks before the failure rate is judged.")
    reuse_rate_percent: Percent = Field(default=50.0, description="Reuse of worker processes below which it is low.")
    reuse_rate_minimum: int = Field(default=10, ge=1, description="Dispatches per worker slot before reuse is judged.")


class StorageSettings(Section):
    """What the state folder keeps."""

    log_max_bytes: Size = Field(
        default=64 * 2**20, description="Size of one attempt's log; the middle of longer ones is cut."
    )
    keep_runs: int = Field(default=100, ge=1, description="Finished runs whose summary is kept.")


class UiSettings(Section):
    """How the terminal app looks and listens."""

    theme: str = Field(default="mi4-dark", min_length=1, description="Colours of the app.")
    ascii: bool = Field(default=False, description="Draw with plain ASCII characters.")
    keymap: dict[str, str] = Field(default_factory=dict, description="Keys of the app, by name of the action.")
    refresh_hz: float = Field(default=10.0, ge=1, le=10, description="Screen updates a second.")


class Settings(BaseSettings):
    """All settings. ``Settings()`` reads the environment, ``.env`` and ``mi4.toml`` of the working folder.

    Raises pydantic's `ValidationError` for a wrong value; `load_settings` says the same in one line with the source.
    """

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_nested_delimiter=_DELIMITER, env_file=DOTENV_FILE, toml_file=CONFIG_FILE
    )

    codex: CodexSettings = CodexSettings()
    orchestration: OrchestrationSettings = OrchestrationSettings()
    cache: CacheSettings = CacheSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    storage: StorageSettings = StorageSettings()
    ui: UiSettings = UiSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - replaced: `load_settings` must read the same way
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Our order of sources; names are read as `load_settings` reads them."""
        environment = _VariableSource(settings_cls, process_environment())
        dotenv = _VariableSource(settings_cls, _read_dotenv(Path(DOTENV_FILE)))
        return init_settings, environment, dotenv, TomlConfigSettingsSource(settings_cls)


@dataclass(frozen=True)
class LoadedSettings:
    """Settings with the place that each value came from."""

    settings: Settings
    sources: dict[str, str]
    """Full name (``orchestration.max_agents``) to source: ``command line``, ``environment NAME``, ``.env``, the file, ``default``."""
    warnings: list[str] = field(default_factory=list)
    """One line for each variable that looks like a setting of ours and is none."""


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One row of ``mi4-tui config``."""

    name: str
    value: Any
    """As JSON holds it."""
    source: str
    description: str
    allowed: str
    """What may stand there, in words."""
    is_size: bool = False
    """Whether the value is a number of bytes, which may also be written as ``64MiB``."""


@dataclass
class _Layer:
    """One source while it is read. Mutable only inside `load_settings`."""

    values: dict[str, Any] = field(default_factory=dict)
    """By full name."""
    labels: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def load_settings(
    *,
    overrides: Mapping[str, Any] = types.MappingProxyType({}),
    config_file: Path | None = None,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> LoadedSettings:
    """Read all sources of `cwd` (default: the working folder) and check every value.

    `overrides` are the command line's: full names (``{"orchestration.max_agents": 4}``) or tables, values typed or text. A given
    `config_file` stands in for ``mi4.toml`` and must exist. Raises `SettingsError` with one line for each wrong setting.
    """
    folder = cwd or Path.cwd()
    environment, unknown = _variable_layer(process_environment() if environ is None else environ, "environment")
    dotenv, unknown_dotenv = _variable_layer(_read_dotenv(folder / DOTENV_FILE), DOTENV_FILE)
    layers = [
        _table_layer(_read_config(folder, config_file), str(config_file or CONFIG_FILE)),
        dotenv,
        environment,
        _table_layer(_nest(overrides), "command line"),
    ]
    values, sources = _merge(layers)
    faults = [fault for layer in reversed(layers) for fault in layer.faults]
    sections = {name: _validate(name, model, values, sources, faults) for name, model in _sections()}
    if faults:
        raise SettingsError("\n".join(faults))
    settings = Settings.model_construct(**cast("dict[str, Any]", sections))
    return LoadedSettings(settings, sources, [*unknown, *unknown_dotenv])


def effective_settings(loaded: LoadedSettings) -> list[EffectiveSetting]:
    """Every setting with its value and source, in the order of the sections."""
    plain = loaded.settings.model_dump(mode="json")
    return [
        EffectiveSetting(
            name=f"{section}.{key}",
            value=plain[section][key],
            source=loaded.sources[f"{section}.{key}"],
            description=info.description or "",
            allowed=_allowed(info),
            is_size=_Size in info.metadata,
        )
        for section, model in _sections()
        for key, info in model.model_fields.items()
    ]


def default_settings() -> list[EffectiveSetting]:
    """Every setting as it is where nobody sets it."""
    return effective_settings(LoadedSettings(Settings.model_construct(), dict.fromkeys(_field_names(), "default")))


def describe_sections() -> dict[str, str]:
    """What each section is about, by name, in order."""
    return {name: (model.__doc__ or "").strip() for name, model in _sections()}


def _sections() -> Iterator[tuple[str, type[Section]]]:
    for name, info in Settings.model_fields.items():
        yield name, cast("type[Section]", info.annotation)


def _field_names() -> list[str]:
    return [f"{section}.{key}" for section, model in _sections() for key in model.model_fields]


# Reading


class _VariableSource(PydanticBaseSettingsSource):
    """Environment-like variables for `Settings()`, read as `load_settings` reads them."""

    def __init__(self, settings_cls: type[BaseSettings], variables: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self._values = _nest(_variable_layer(variables, "")[0].values)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Required by the base class; `__call__` gives all values at once."""
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._values


def _variable_layer(variables: Mapping[str, str], label: str) -> tuple[_Layer, list[str]]:
    """Variables named ``SECTION__KEY`` (or ``SECTION__TABLE__name``) in any case, and a line for each that no setting has."""
    layer, unknown = _Layer(), []
    fields = {name: model.model_fields for name, model in _sections()}
    for variable, text in variables.items():
        section, _, rest = variable.partition(_DELIMITER)
        key, _, entry = rest.partition(_DELIMITER)
        section, key = section.lower(), key.lower()
        if section not in fields or not key:
            continue
        info = fields[section].get(key)
        if info is None or (entry and get_origin(info.annotation) is not dict):
            unknown.append(_unknown_variable(variable, label))
            continue
        _put(layer, f"{section}.{key}", {entry: text} if entry else _decode(info, text), variable, label)
    return layer, unknown


def _put(layer: _Layer, name: str, value: Any, variable: str, label: str) -> None:
    place = f"{label} {variable}" if label == "environment" else label
    earlier = layer.labels.get(name)
    layer.values[name] = _combine(layer.values.get(name), value)
    layer.labels[name] = place if earlier in (None, place) else f"{earlier}, {place}"


def _unknown_variable(variable: str, label: str) -> str:
    names = {name.replace(".", _DELIMITER).upper(): name for name in _field_names()}
    return f"{label}: no setting is named {_show(variable)}{_nearest(variable.upper(), names)}; it is ignored"


def _decode(info: FieldInfo, text: str) -> Any:
    """Lists and tables are written as JSON (lists also as ``a,b``); a text that is neither is left for the check to refuse."""
    kind = get_origin(info.annotation)
    if kind not in (list, dict):
        return text
    if kind is list and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _table_layer(table: Mapping[str, Any], label: str) -> _Layer:
    """A nested table, with a fault for each name that no setting has."""
    layer = _Layer()
    fields = {name: model.model_fields for name, model in _sections()}
    for section, content in table.items():
        if section not in fields:
            layer.faults.append(f"{label}: no section is named {_show(section)}{_nearest(section, fields)}")
        elif not isinstance(content, Mapping):
            layer.faults.append(f"{label}: {section} must be a table, such as [{section}]")
        else:
            _read_section(layer, section, content, label)
    return layer


def _read_section(layer: _Layer, section: str, content: Mapping[str, Any], label: str) -> None:
    fields = dict(_sections())[section].model_fields
    for key, value in content.items():
        name = f"{section}.{key}"
        if key not in fields:
            layer.faults.append(f"{label}: no setting is named {_show(name)}{_nearest(name, _field_names())}")
            continue
        layer.values[name] = _decode(fields[key], value) if isinstance(value, str) else value
        layer.labels[name] = label


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """``{"a.b": 1}`` and ``{"a": {"b": 1}}`` alike as ``{"a": {"b": 1}}``."""
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        section, dot, key = name.partition(".")
        nested[section] = _combine(nested.get(section), {key: value} if dot else value)
    return nested


def _combine(lower: Any, higher: Any) -> Any:
    """Two tables become one, the higher winning entry by entry; anything else is replaced."""
    return {**lower, **higher} if isinstance(lower, Mapping) and isinstance(higher, Mapping) else higher


def _read_dotenv(path: Path) -> dict[str, str]:
    text = _read_text(path, required=False)
    if text is None:
        return {}
    variables = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {name: value for name, value in variables.items() if value is not None}


def _read_config(folder: Path, config_file: Path | None) -> dict[str, Any]:
    path = folder / (config_file or CONFIG_FILE)
    text = _read_text(path, required=config_file is not None)
    try:
        return tomllib.loads(text or "")
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{config_file or CONFIG_FILE}: not valid TOML: {error}") from error


def _read_text(path: Path, *, required: bool) -> str | None:
    """The file's text, or None where it does not exist and need not; raises `SettingsError`."""
    try:
        if not required and not path.exists():
            return None
        if not path.is_file():
            raise SettingsError(f"{path}: no such file" if not path.exists() else f"{path}: not a file")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 text (byte {error.start})") from error


# Checking


def _merge(layers: list[_Layer]) -> tuple[dict[str, Any], dict[str, str]]:
    """Values and sources by full name; `layers` from the lowest to the highest."""
    values: dict[str, Any] = {}
    sources = dict.fromkeys(_field_names(), "default")
    for layer in layers:
        for name, value in layer.values.items():
            joined = isinstance(values.get(name), Mapping) and isinstance(value, Mapping)
            values[name] = _combine(values.get(name), value)
            sources[name] = f"{layer.labels[name]}, {sources[name]}" if joined else layer.labels[name]
    return values, sources


def _validate(
    section: str, model: type[Section], values: Mapping[str, Any], sources: Mapping[str, str], faults: list[str]
) -> Section | None:
    """The section, or None after adding a line to `faults` for each wrong setting."""
    given = {key: values[f"{section}.{key}"] for key in model.model_fields if f"{section}.{key}" in values}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        wrong = dict.fromkeys(str(detail["loc"][0]) for detail in error.errors() if detail["loc"])
        for key in wrong:
            name = f"{section}.{key}"
            allowed = _allowed(model.model_fields[key])
            faults.append(f"{name} from {sources[name]} is {_show(given[key])}; allowed: {allowed}")
        if not wrong:
            places = ", ".join(f"{key} from {sources[f'{section}.{key}']}" for key in given)
            faults.append(f"{section}: {error.errors()[0]['msg'].removeprefix('Value error, ')} ({places})")
        return None


def _show(value: Any) -> str:
    """The value as one short printable text: what stands in a file must not drive a terminal."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _nearest(name: str, names: Mapping[str, Any] | list[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _allowed(info: FieldInfo) -> str:
    """What may stand in a field, in words."""
    return _describe(info.annotation, info.metadata)


def _describe(kind: Any, metadata: list[Any]) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _describe(inner[0], _flatten(inner[1:]))
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(part, metadata) for part in inner)
    if origin is Literal:
        return " or ".join(str(part) for part in inner)
    if origin is dict:
        return f"a table of names, each with {_describe(inner[1], [])}"
    if origin is list:
        return "a list of Python module names"
    if _Size in metadata:
        return "a size of at least 4096 bytes, such as 64MiB"
    if kind in (int, float):
        return ("a whole number" if kind is int else "a number") + _bounds(metadata)
    return "true or false" if kind is bool else "a text"


def _flatten(metadata: tuple[Any, ...]) -> list[Any]:
    return [part for item in metadata for part in (item.metadata if isinstance(item, FieldInfo) else [item])]


def _bounds(metadata: list[Any]) -> str:
    low = next((part.ge for part in metadata if isinstance(part, Ge)), None)
    high = next((part.le for part in metadata if isinstance(part, Le)), None)
    above = next((part.gt for part in metadata if isinstance(part, Gt)), None)
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    if above is not None:
        return f" above {above:g}"
    return f" of at least {low:g}" if low is not None else ""
