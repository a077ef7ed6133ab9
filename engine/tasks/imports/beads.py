"""The issues of beads, as ``issues.jsonl`` (or ``beads.jsonl``), as a list, or in the envelope of its JSON output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..records import name_of, show
from .backlog import Backlog, Draft, Place, Standing
from .values import id_of, items_of, moment_of, prompt_of, rest_of, table_of, tags_of, text_of, title_of

_STANDINGS = {
    "": (Standing.OPEN, ""),
    "open": (Standing.OPEN, ""),
    "blocked": (Standing.OPEN, ""),  # its dependencies say by what
    "in_progress": (Standing.HELD, "in progress there"),
    "hooked": (Standing.HELD, "on somebody's hook there"),
    "deferred": (Standing.HELD, "deferred there"),
    "closed": (Standing.DONE, ""),
    "pinned": (Standing.LEFT_OUT, "pinned, which is no work to be done"),
    "tombstone": (Standing.LEFT_OUT, "deleted there"),
}
_PRIORITIES = (400, 300, 200, 100, 100)
_INTERNAL = {"message", "molecule", "gate", "event"}
_GROUPS = {"epic", "milestone"}
_WAITS = {"blocks", "waits-for"}
_USED = {
    "_type", "id", "title", "description", "design", "acceptance_criteria", "notes", "status", "priority", "issue_type", "dependencies",
    "labels", "due_at", "defer_until", "external_ref", "created_at", "comments",
    # These change without the work changing, and a task that has changed runs again.
    "updated_at", "started_at", "closed_at", "close_reason", "dependency_count", "dependent_count", "comment_count", "ephemeral",
    "is_template", "content_hash",
}  # fmt: skip


def read_beads(entries: Iterable[tuple[Any, Place]]) -> Backlog:
    """All issues among `entries`, each with its place."""
    backlog = Backlog("beads")
    for value, place in entries:
        if not isinstance(value, dict):
            backlog.skip(place, f"{name_of(value)}, no issue")
            continue
        kind = text_of(value.get("_type")) or "issue"
        name = id_of(value.get("id"))
        if kind != "issue":
            backlog.skip(place, f"a {kind}, no issue")
        elif not name:
            backlog.skip(place, "an issue without an id")
        else:
            _read_issue(backlog, value, place, name)
    for draft in backlog.drafts.values():
        if not draft.parent and "." in draft.id and draft.id.rpartition(".")[0] in backlog.drafts:
            draft.parent = draft.id.rpartition(".")[0]
    return backlog


def _read_issue(backlog: Backlog, issue: Mapping[str, Any], place: Place, name: str) -> None:
    kind = text_of(issue.get("issue_type")).lower()
    draft = Draft(name, place, _fields(backlog, issue, place, name, kind))
    draft.standing, draft.why = _standing(backlog, issue, draft, kind)
    is_group = kind in _GROUPS and draft.standing is not Standing.LEFT_OUT and not draft.is_group
    draft.holds_children = draft.why == "deferred there"
    if is_group:
        draft.is_group = True
        backlog.skip(
            place,
            f"{show(name)}: the {kind} {show(draft.fields['title'])} is a group of its children, no work of its own",
        )
    _read_edges(backlog, issue, draft)
    if draft.parent:
        draft.fields["tags"] = tags_of([*draft.fields["tags"], draft.parent])
    backlog.add(draft)


def _fields(backlog: Backlog, issue: Mapping[str, Any], place: Place, name: str, kind: str) -> dict[str, Any]:
    title = title_of(issue.get("title")) or title_of(issue.get("description"))
    if not title:
        title = f"Issue {name}"
        backlog.warn(place, f"{show(name)} has neither a title nor a description")
    fields: dict[str, Any] = {
        "title": title,
        "description": prompt_of(
            title,
            ("", issue.get("description")),
            ("Design", issue.get("design")),
            ("Acceptance criteria", issue.get("acceptance_criteria")),
            ("Notes", issue.get("notes")),
        ),
        "priority": _priority(backlog, issue, place, name),
        "tags": tags_of(items_of(issue.get("labels"))),
        "external_ref": title_of(issue.get("external_ref")) or name,
        "meta": rest_of(issue, _USED),
    }
    if kind:
        fields["category"] = kind
    for target, source in (("created_at", "created_at"), ("due_at", "due_at"), ("not_before", "defer_until")):
        if issue.get(source) in (None, ""):
            continue
        moment = moment_of(issue[source])
        if moment is None:
            backlog.warn(place, f"{show(name)}: {source} is no time: {show(issue[source])}")
        else:
            fields[target] = moment
    return fields


def _priority(backlog: Backlog, issue: Mapping[str, Any], place: Place, name: str) -> int:
    word = text_of(issue.get("priority")).upper().removeprefix("P")
    if word in ("0", "1", "2", "3", "4"):
        return _PRIORITIES[int(word)]
    if word:
        backlog.warn(place, f"{show(name)}: its priority {show(word)} is not 0 to 4; it gets normal")
    return 200


def _standing(backlog: Backlog, issue: Mapping[str, Any], draft: Draft, kind: str) -> tuple[Standing, str]:
    word = text_of(issue.get("status")).lower()
    standing, why = _STANDINGS.get(word, (Standing.HELD, f"its status {show(word)} is not known"))
    for reason, holds in (
        (f"of the internal kind {kind}", kind in _INTERNAL),
        ("ephemeral", issue.get("ephemeral") is True),
        ("a template", issue.get("is_template") is True),
    ):
        if holds:
            backlog.skip(draft.place, f"{show(draft.id)}: {reason}")
            # What waits for something that is over need not care that it was no task.
            draft.is_group = standing is Standing.DONE
            return (Standing.DONE if standing is Standing.DONE else Standing.LEFT_OUT), reason
    if standing is Standing.LEFT_OUT:
        backlog.skip(draft.place, f"{show(draft.id)}: {why}")
    elif word == "deferred" and draft.fields.get("not_before"):
        return Standing.OPEN, ""
    elif standing is Standing.HELD and kind not in _GROUPS:
        backlog.warn(draft.place, f"{show(draft.id)} is held: {why}")
    return standing, why


def _read_edges(backlog: Backlog, issue: Mapping[str, Any], draft: Draft) -> None:
    links: list[str] = []
    for edge in items_of(issue.get("dependencies")):
        if isinstance(edge, str):
            draft.waits_for[edge.strip()] = None
            continue
        target = id_of(table_of(edge).get("depends_on_id")) or id_of(table_of(edge).get("id"))
        owner = id_of(table_of(edge).get("issue_id"))
        if not target:
            backlog.warn(draft.place, f"{show(draft.id)}: a dependency names no issue; that is ignored")
            continue
        if owner and owner != draft.id:
            backlog.warn(
                draft.place,
                f"{show(draft.id)}: a dependency of {show(owner)} stands here; it is taken for one of this issue",
            )
        kind = text_of(edge.get("type") or edge.get("dependency_type")).lower() or "blocks"
        if kind in _WAITS:
            draft.waits_for[target] = None
        elif kind == "parent-child":
            draft.parent = draft.parent or target
        elif kind == "conditional-blocks":
            draft.waits_for[target] = None
            draft.fields["run_if"] = "failure"
        else:
            links.append(f"{kind} {target}")
    if links:
        draft.fields["meta"]["links"] = [title_of(link) for link in links]
    if draft.fields.get("run_if") and len(draft.waits_for) > 1:
        backlog.warn(
            draft.place,
            f"{show(draft.id)} runs if any of the {len(draft.waits_for)} that it waits for fails, not only the one that was meant",
        )
