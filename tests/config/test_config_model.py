"""The configuration base: strict types, our errors, YAML reading, rendering."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError, model_validator

from skyloom.config import (
    AutoInt,
    AutoPath,
    Config,
    Float,
    OddInt,
    Percentile,
    PositiveFloat,
    PositiveInt,
    Unit,
    UserPath,
    YamlDocument,
    build_config,
    config_subset,
    list_settings,
    parse_yaml,
    read_yaml,
    render_reference,
    render_sample,
)
from skyloom.errors import ConfigError, MissingConfig, UnknownKey, WrongType, WrongValue


class LimitsConfig(Config):
    """Limits of the search."""

    low: Annotated[Float, Unit("pix")] = 1.0
    """Lower end."""
    high: Annotated[Float, Unit("pix")] = 9.0
    """Upper end."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low < self.high:
            msg = f"low = {self.low} must be below high = {self.high}"
            raise ValueError(msg)
        return self


class SearchConfig(Config):
    """How to search."""

    threshold: Annotated[PositiveFloat, Unit("sigma")] = 4.5
    """Peak height above which a source is kept."""
    tolerance: Float = 1e-12
    """Where to stop."""
    rounds: PositiveInt = 3
    """Number of rounds."""
    side: OddInt = 5
    """Side of a stamp."""
    workers: AutoInt = "auto"
    """Workers."""
    method: Literal["fast", "thorough"] = "fast"
    """Method | with a bar."""
    is_on: bool = True
    """Switch."""
    range: Annotated[tuple[Float, Float], Field(strict=False)] = (0.5, 1.5)
    """Two numbers."""
    level: Percentile = 50.0
    """A percentile."""
    name: str = 'a "quoted" name'
    """A name."""
    limit: PositiveFloat | None = None
    """A limit."""
    table: UserPath | None = Path("a/b.csv")
    """A table."""
    log: AutoPath | None = "auto"
    """A log."""
    limits: LimitsConfig = LimitsConfig()


class NightConfig(Config):
    """A night."""

    title: str = "night"
    """Its title."""
    search: SearchConfig = SearchConfig()
    limits: LimitsConfig = LimitsConfig()


def load(text: str, **kwargs: Any) -> NightConfig:
    return build_config(NightConfig, parse_yaml(text, name="night.yaml"), **kwargs)


def message(kind: type[ConfigError], text: str, **kwargs: Any) -> str:
    with pytest.raises(kind) as caught:
        load(text, **kwargs)
    assert caught.type is kind
    return str(caught.value)


def test_empty_text_gives_all_defaults() -> None:
    for text in ("", "\n# nothing\n", "---\n", "null\n"):
        assert load(text) == NightConfig()


def test_values_replace_defaults_section_by_section() -> None:
    config = load("search:\n  rounds: 7\n  limits: {low: 2}\n")
    assert config.search.rounds == 7
    assert config.search.limits.low == 2.0
    assert config.search.limits.high == 9.0
    assert config.limits == LimitsConfig()


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        NightConfig().title = "day"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("threshold", "5", 5.0),
        ("threshold", "1e3", 1000.0),
        ("threshold", "1e-3", 0.001),
        ("threshold", ".5e1", 5.0),
        ("threshold", "1.5E+2", 150.0),
        ("tolerance", "-1e-12", -1e-12),
        ("range", "[1, 2e0]", (1.0, 2.0)),
        ("workers", "4", 4),
        ("workers", '"4"', 4),
        ("workers", "AUTO", "auto"),
        ("limit", "null", None),
        ("limit", "2", 2.0),
        ("name", "1e5", "1e5"),
        ("table", "null", None),
        ("table", "x/y", Path("x/y")),
        ("log", '" Auto "', "auto"),
        ("log", "run.log", Path("run.log")),
        ("log", "null", None),
        ("is_on", "no", False),
    ],
)
def test_accepted_spellings(key: str, value: str, expected: object) -> None:
    got = getattr(load(f"search:\n  {key}: {value}\n").search, key)
    assert got == expected
    assert type(got) is type(expected) or isinstance(expected, (str, Path))


@pytest.mark.parametrize(
    ("key", "value", "demand"),
    [
        ("threshold", "true", "must be a number [sigma]"),
        ("threshold", '"5"', "must be a number [sigma]"),
        ("threshold", '"1e-3"', "must be a number [sigma]"),
        ("threshold", "null", "must be a number [sigma]"),
        ("threshold", "[1]", "must be a number [sigma]"),
        ("rounds", "5.0", "rounds = 5.0 must be an integer"),
        ("rounds", "true", "rounds = true must be an integer"),
        ("rounds", "1e1", "must be an integer"),
        ("is_on", "1", "must be true or false"),
        ("is_on", '"yes"', "must be true or false"),
        ("name", "3", "must be a string"),
        ("name", "2024-01-01", "must be a string"),
        ("workers", "many", "must be an integer or auto"),
        ("workers", "2.0", "must be an integer or auto"),
        ("workers", "true", "must be an integer or auto"),
        ("method", "3", "must be 'fast' or 'thorough'"),
        ("range", "3", "must be a list of 2 numbers"),
        ("range", "[1, true]", "range[1] = true must be a number in a list of 2 numbers"),
        ("limit", "x", "must be a number or null"),
        ("table", "3", "must be a path or null"),
        ("log", "3", "must be a path or auto or null"),
        ("limits", "null", "must be a mapping of settings"),
        ("limits", "3", "must be a mapping of settings"),
    ],
)
def test_wrong_types_name_file_line_key_and_demand(key: str, value: str, demand: str) -> None:
    text = message(WrongType, f"# comment\nsearch:\n  {key}: {value}\n")
    assert text.startswith(f"night.yaml:3: search.{key}")
    assert demand in text


@pytest.mark.parametrize(
    ("key", "value", "demand"),
    [
        ("threshold", "0", "threshold = 0 must be > 0 [sigma]"),
        ("threshold", ".nan", "must be a finite number"),
        ("threshold", ".inf", "must be a finite number"),
        ("rounds", "-1", "must be > 0"),
        ("side", "4", "must be odd"),
        ("level", "101", "must be <= 100"),
        ("method", "fats", "must be 'fast' or 'thorough'; did you mean 'fast'?"),
        ("range", "[1]", "range must be a list of 2 numbers"),
        ("range", "[1, 2, 3]", "must be a list of 2 numbers"),
        ("table", '""', "must be the name of a file or directory, not empty"),
        ("log", '" "', "must be the name of a file or directory, not empty"),
        ("limits", "{low: 10}", "limits.low = 10.0 must be below high = 9.0"),
    ],
)
def test_wrong_values_name_file_line_key_and_demand(key: str, value: str, demand: str) -> None:
    text = message(WrongValue, f"search:\n  {key}: {value}\n")
    assert text.startswith(f"night.yaml:2: search.{key}")
    assert demand in text


def test_an_integer_beyond_the_range_of_floats_is_a_wrong_type() -> None:
    text = message(WrongType, f"search: {{threshold: {'9' * 400}}}")
    assert "search.threshold" in text


def test_unknown_key_suggests_a_neighbour() -> None:
    text = message(UnknownKey, "search:\n  treshold: 3\n")
    expected = "night.yaml:2: Unknown config key: search.treshold; did you mean 'threshold'?"
    assert text == expected


def test_unknown_key_suggests_another_section() -> None:
    text = message(UnknownKey, "rounds: 3\n")
    assert "did you mean 'search.rounds'?" in text


def test_unknown_key_without_likeness_lists_what_is_known() -> None:
    assert "known here: low, high" in message(UnknownKey, "limits: {zzz: 1}")


def test_unknown_keys_come_before_types_and_values() -> None:
    text = message(UnknownKey, "search:\n  rounds: x\n  threshold: -1\nfoo: 1\n")
    assert "foo" in text


def test_types_come_before_values() -> None:
    text = message(WrongType, "search:\n  threshold: -1\n  rounds: x\n")
    assert text.startswith("night.yaml:3: search.rounds")


def test_all_mistakes_of_a_kind_are_named() -> None:
    text = message(UnknownKey, "b: 1\na: 2\nlimits: {c: 3}\n")
    assert text.endswith("(also wrong: a, limits.c)")


@pytest.mark.parametrize("text", ["5: 3", "true: 1", "[1, 2]: 3", "search: {2: 1}"])
def test_keys_that_are_not_text_are_unknown_or_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        load(text)


def test_old_keys_answer_with_their_remedy() -> None:
    text = message(UnknownKey, "search: {loops: 1}", old_keys={"search.loops": "it is rounds now"})
    assert text.endswith("search.loops; it is rounds now")


def test_errors_carry_their_facts_and_builtins() -> None:
    with pytest.raises(KeyError) as unknown:
        load("search: {loops: 1}")
    assert unknown.value.key == "search.loops"  # type: ignore[attr-defined]
    with pytest.raises(TypeError) as wrong:
        load("search: {rounds: 1.5}")
    assert wrong.value.facts["value"] == 1.5  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="rounds"):
        load("search: {rounds: 0}")


@pytest.mark.parametrize("text", ["3", "[1, 2]", "text", "false", "2024-01-01"])
def test_root_must_be_a_mapping(text: str) -> None:
    with pytest.raises(WrongType, match="Config root must be a mapping"):
        parse_yaml(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", 3),
        ("a: 1\n\tb: 2\n", 2),
        ("a: {b: 1\n", 2),
        ("a: 1\nb: 2\na: 3\n", 3),
        ("a: !!python/object/apply:os.system ['true']\n", 1),
        ("a: *nowhere\n", 1),
        ("a: 1\n---\nb: 2\n", 2),
    ],
)
def test_broken_yaml_names_the_line(text: str, line: int) -> None:
    with pytest.raises(ConfigError, match=f"^bad.yaml:{line}: ") as caught:
        parse_yaml(text, name="bad.yaml")
    assert caught.value.line == line
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a: \x07", "a: 2024-13-45", "[" * 3000, "a: " + "9" * 5000])
def test_odd_text_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)


def test_anchors_and_merge_keys_work() -> None:
    text = "search: &s {rounds: 4}\nlimits: {low: 0, high: 1}\n"
    assert load(text).search.rounds == 4
    data = parse_yaml("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  x: 3\n").data
    assert data["b"] == {"x": 3, "y": 2}


_yaml_signs = st.sampled_from(list("ab01-:[]{}#&*!|>'\"%\n\t ,.e?~@\\<\x00é"))


def complaint(document: YamlDocument) -> str:
    """Return what is wrong with a document, "" when it loads; any other error comes through."""
    try:
        config = build_config(NightConfig, document)
    except ConfigError as error:
        return str(error)
    json.dumps(config_subset(config, ["title", "search"]), allow_nan=False)
    return ""


@given(st.text(alphabet=_yaml_signs, max_size=60))
@settings(deadline=None, max_examples=300)
def test_any_text_loads_or_is_refused_in_one_line(text: str) -> None:
    try:
        found = complaint(parse_yaml(text))
    except ConfigError as error:
        found = str(error)
    assert not found or (found.startswith("config") and "\n" not in found)


_leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.dates()
)
_values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_leaves, inner, max_size=3),
    max_leaves=5,
)


@given(key=st.sampled_from(sorted(SearchConfig.model_fields)), value=_values)
@settings(deadline=None, max_examples=300)
def test_any_value_loads_or_is_refused_by_its_key(key: str, value: Any) -> None:
    document = parse_yaml("")
    document.data["search"] = {key: value}
    found = complaint(document)
    assert not found or f"search.{key}" in found


def test_keys_are_shown_in_one_line() -> None:
    text = message(UnknownKey, '"a\\nb": 1\n')
    assert "\n" not in text
    assert "a\\nb" in text


def test_read_yaml_names_what_is_missing_or_unreadable(tmp_path: Path) -> None:
    with pytest.raises(MissingConfig, match="Config not found: ") as caught:
        read_yaml(tmp_path / "none.yaml")
    assert isinstance(caught.value, FileNotFoundError)
    with pytest.raises(ConfigError, match="directory"):
        read_yaml(tmp_path)
    (tmp_path / "image.yaml").write_bytes(b"a: 1\n\xff\xfe")
    with pytest.raises(ConfigError, match="byte 5 is not UTF-8"):
        read_yaml(tmp_path / "image.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml("nul\0.yaml")


def test_read_yaml_accepts_a_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    path = tmp_path / "dos.yaml"
    path.write_bytes("\ufefftitle: é\r\nsearch:\r\n  rounds: 2\r\n".encode())
    document = read_yaml(path)
    assert document.data == {"title": "é", "search": {"rounds": 2}}
    assert document.where("search.rounds") == "dos.yaml:3"
    assert document.where("search.absent") == "dos.yaml:2"
    assert document.where("absent") == "dos.yaml"


def test_subset_is_plain_data_in_the_order_asked() -> None:
    subset = config_subset(NightConfig(), ["search.range", "limits", "search.table"])
    assert list(subset) == ["search.range", "limits", "search.table"]
    assert subset["search.range"] == [0.5, 1.5]
    assert subset["limits"] == {"low": 1.0, "high": 9.0}
    assert subset["search.table"] == "a/b.csv"


def test_subset_of_equal_settings_does_not_depend_on_spelling() -> None:
    a, b = load("search: {threshold: 5}"), load("search: {threshold: 5.0e+0}")
    assert json.dumps(config_subset(a, ["search"])) == json.dumps(config_subset(b, ["search"]))


@pytest.mark.parametrize("key", ["serach", "search.none", "search.rounds.more", ""])
def test_subset_refuses_keys_that_do_not_exist(key: str) -> None:
    with pytest.raises(KeyError, match="is not a field"):
        config_subset(NightConfig(), [key])


def test_settings_describe_type_limits_unit_and_sentence() -> None:
    by_key = {s.key: s for s in list_settings(NightConfig)}
    assert len(by_key) == 1 + 13 + 2 + 2
    threshold = by_key["search.threshold"]
    assert (threshold.kind, threshold.limits, threshold.unit) == ("number", "> 0", "sigma")
    assert threshold.sentence == "Peak height above which a source is kept."
    assert by_key["search.limit"].limits == "> 0"
    assert by_key["search.level"].limits == ">= 0 and <= 100"
    assert by_key["search.limits.low"].section == "search.limits"


def test_sample_loads_to_the_defaults_in_our_and_in_a_plain_reader() -> None:
    sample = render_sample(NightConfig, header="First\nsecond", notes={"title": "a note"})
    assert sample.startswith("# First\n# second\n")
    assert "a note" in sample
    assert load(sample) == NightConfig()
    plain = yaml.safe_load(sample)
    assert plain["search"]["tolerance"] == 1e-12
    assert plain["search"]["name"] == 'a "quoted" name'


def test_sample_explains_every_setting_within_the_line_width() -> None:
    sample = render_sample(NightConfig)
    assert max(map(len, sample.splitlines())) <= 100
    comments = " ".join(line.strip(" #") for line in sample.splitlines() if "#" in line)
    for setting in list_settings(NightConfig):
        assert setting.sentence in comments
        assert f"{setting.name}:" in sample
    assert "Peak height above which a source is kept. [number > 0, sigma]" in comments


def test_reference_has_one_row_for_each_setting() -> None:
    page = render_reference(NightConfig, title="Settings", notes={"search.rounds": "a note"})
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) == len(list_settings(NightConfig))
    assert "| `rounds` | integer > 0 | `3` |  | Number of rounds. *(a note)* |" in rows
    assert "Method \\| with a bar." in page
