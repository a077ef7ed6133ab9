"""The one table of keys."""

import pytest
from textual.binding import Binding

from mi4_tui import keymap


def test_every_key_says_what_it_is():
    assert len({key.id for key in keymap.KEYS}) == len(keymap.KEYS)
    for key in keymap.KEYS:
        assert key.label
        assert len(key.help) > 4
        assert key.group in keymap.GROUPS
        assert key.scope in (*keymap.SCOPES, "everywhere")


@pytest.mark.parametrize("scope", keymap.SCOPES)
def test_no_key_stands_twice_on_a_screen(scope):
    names = [name for key in keymap.in_scope(scope) for name in key.keys.split(",")]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("scope", keymap.SCOPES)
def test_at_most_eight_hints_and_the_last_two_are_help_and_quit(scope):
    hints = keymap.hints(scope)
    assert len(hints) <= 8
    assert [hint.label for hint in hints[-2:]] == ["Help", "Quit"]


def test_keys_that_terminals_and_multiplexers_take_are_not_used():
    names = {name for key in keymap.KEYS for name in key.keys.split(",")}
    assert not names & {"ctrl+q", "ctrl+b", "ctrl+a", "ctrl+s", "ctrl+j", "ctrl+o"}


def test_bindings_are_textuals_form_of_the_table():
    for scope in (*keymap.SCOPES, "everywhere"):
        made = keymap.bindings(scope)
        assert [binding.id for binding in made] == [key.id for key in keymap.KEYS if key.scope == scope]
        assert all(isinstance(binding, Binding) and not binding.show for binding in made)


def test_another_key_is_shown_where_it_was_given():
    assert keymap.hints("main", {"pause": "f5"})[1].key == "f5"
    rows = dict(keymap.help_rows("main", {"pause": "f5"}))
    assert ("f5", keymap.BY_ID["pause"].help) in rows["Run"]


def test_unknown_ids_are_found():
    assert keymap.unknown_ids(["pause", "nonsense"]) == ["nonsense"]


def test_the_help_has_every_key_of_the_screen():
    for scope in keymap.SCOPES:
        told = [text for _, rows in keymap.help_rows(scope) for _, text in rows]
        assert sorted(told) == sorted(key.help for key in keymap.in_scope(scope))


def test_the_table_for_readers_has_a_row_for_each_key():
    table = keymap.markdown_table().splitlines()
    assert len(table) == 2 + len(keymap.KEYS)
    assert all(line.count("|") == 4 for line in table)
    assert "| `+` or `=` | raise the priority by one level | board |" in table
