"""Issues of GitHub as JSON: what its command line prints, what its REST interface answers, a search result, or a single issue."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..records import name_of, show
from .backlog import Backlog, Draft, Place, Standing
from .values import items_of, moment_of, prompt_of, rest_of, table_of, tags_of, text_of, title_of

DEFAULT_LIMIT = 30
"""How many issues come when nobody asks for more."""
_REPOSITORY = re.compile(r"(?:https?://[^/\s]+/(?:repos/)?)([\w.-]{1,100}/[\w.-]{1,100})(?=/|$)")
_REFERENCE = r"(?:(?P<repo>[\w.-]{1,100}/[\w.-]{1,100})?#|https?://[\w.-]{1,100}/(?P<path>[\w.-]{1,100}/[\w.-]{1,100})/issues/)(?P<number>[0-9]{1,9})\b"
_BLOCKED = re.compile(
    r"\b(?:blocked by|depends on|depends upon|requires)\b:?[ \t]*(?=[\w.-]*/?[\w.-]*#|https?:)", re.IGNORECASE
)
_NEXT = re.compile(r"[ \t]{0,4}(?:,[ \t]{0,4}and|,|and|&)?[ \t]{0,4}" + _REFERENCE)
_TASK = re.compile(r"^[ \t]*[-*+][ \t]+\[[ xX]\][ \t]+" + _REFERENCE, re.MULTILINE)
_P = re.compile(r"p([0-4])")
_LABEL = re.compile(r"(priority|prio|area|type|kind)\s*[/:=-]\s*(.+)")
_PRIORITIES = {
    "critical": 400, "urgent": 400, "blocker": 400, "highest": 400, "high": 300, "medium": 200, "normal": 200, "low": 100, "lowest": 100,
    "p0": 400, "p1": 300, "p2": 200, "p3": 100, "p4": 100, "0": 400, "1": 300, "2": 200, "3": 100, "4": 100,
}  # fmt: skip
_USED = {
    "number", "title", "body", "state", "stateReason", "state_reason", "labels", "milestone", "createdAt", "created_at", "url", "html_url",
    "closed", "closedAt", "closed_at", "updatedAt", "updated_at", "comments", "reactions", "reactionGroups", "id", "node_id", "isPinned",
    "closedByPullRequestsReferences", "projectCards", "projectItems", "pull_request", "repository_url", "labels_url", "comments_url",
    "events_url", "timeline_url", "user", "author", "assignee", "assignees", "author_association", "score", "locked", "active_lock_reason",
    "closed_by", "performed_via_github_app", "repository", "sub_issues_summary", "issue_dependencies_summary", "draft", "bot",
}  # fmt: skip


def issues_of(root: Any) -> list[Any]:
    """The list of issues in a whole document."""
    if isinstance(root, dict):
        return root["items"] if isinstance(root.get("items"), list) else [root]
    return items_of(root)


def repositories_of(issues: Iterable[Any]) -> frozenset[str]:
    """Where the issues are from, as far as they say it."""
    return frozenset(repository for issue in issues if isinstance(issue, dict) and (repository := _repository(issue)))


def read_github(entries: Sequence[tuple[Any, Place]], *, qualify: bool = False) -> Backlog:
    """All issues among `entries`, each with its place; with `qualify` (or several repositories) each id names its repository."""
    backlog = Backlog("github")
    qualify = qualify or len(repositories_of(value for value, _ in entries)) > 1
    for value, place in entries:
        if not isinstance(value, dict):
            backlog.skip(place, f"{name_of(value)}, no issue")
            continue
        number = value.get("number")
        if isinstance(number, bool) or not isinstance(number, int):
            backlog.skip(place, "an issue without a number")
        elif "pull_request" in value or "/pull/" in text_of(value.get("html_url") or value.get("url")):
            backlog.skip(place, f"#{number} is a pull request")
        else:
            _read_issue(backlog, value, place, number, qualify=qualify)
    if len(entries) == DEFAULT_LIMIT:
        backlog.warn(
            None,
            f"exactly {DEFAULT_LIMIT} issues, which is how many come when no limit is given; there may be more (gh issue list --limit 1000)",
        )
    return backlog


def _repository(issue: Mapping[str, Any]) -> str:
    for key in ("html_url", "url", "repository_url"):
        match = _REPOSITORY.match(text_of(issue.get(key)))
        if match:
            return match[1]
    repository = table_of(issue.get("repository"))
    return text_of(repository.get("nameWithOwner") or repository.get("full_name"))


def _read_issue(backlog: Backlog, issue: Mapping[str, Any], place: Place, number: int, *, qualify: bool) -> None:
    repository = _repository(issue)
    name = _id(number, repository, qualify=qualify)
    title = title_of(issue.get("title")) or f"Issue #{number}"
    body = text_of(issue.get("body"))
    labels = [_label(label) for label in items_of(issue.get("labels"))]
    fields: dict[str, Any] = {
        "title": title,
        "description": prompt_of(title, ("", body)),
        "tags": tags_of(labels),
        "external_ref": text_of(issue.get("html_url") or issue.get("url")) or name,
        "meta": rest_of(issue, _USED),
        **_from_labels(labels),
    }
    _read_times(backlog, issue, place, name, fields)
    draft = Draft(name, place, fields)
    _read_state(backlog, issue, draft)
    for other, reference in _references(body):
        if other and other != repository and not qualify:
            backlog.warn(
                place, f"{show(name)} waits for {other}#{reference}, which is in another repository; that is ignored"
            )
        else:
            draft.waits_for[_id(reference, other or repository, qualify=qualify)] = None
    draft.waits_for.pop(name, None)
    backlog.add(draft)


def _id(number: int, repository: str, *, qualify: bool) -> str:
    return f"{repository}#{number}" if qualify and repository else f"gh-{number}"


def _label(label: Any) -> str:
    return title_of(label.get("name") if isinstance(label, dict) else label).lower()


def _from_labels(labels: Iterable[str]) -> dict[str, Any]:
    """Priority and category, each from the first label that says it."""
    found: dict[str, Any] = {}
    for label in labels:
        match = _LABEL.fullmatch(label)
        name, value = (match[1], match[2].strip()) if match else ("", label)
        if (name in ("priority", "prio") and value in _PRIORITIES) or (not name and _P.fullmatch(label)):
            found.setdefault("priority", _PRIORITIES[value])
        elif name in ("area", "type", "kind"):
            found.setdefault("category", value)
    return found


def _read_times(backlog: Backlog, issue: Mapping[str, Any], place: Place, name: str, fields: dict[str, Any]) -> None:
    milestone = table_of(issue.get("milestone"))
    if title_of(milestone.get("title")):
        fields["tags"] = tags_of([*fields["tags"], milestone["title"]])
    for target, value in (
        ("created_at", issue.get("createdAt") or issue.get("created_at")),
        ("due_at", milestone.get("dueOn") or milestone.get("due_on")),
    ):
        moment = moment_of(value) if value else None
        if moment:
            fields[target] = moment
        elif value:
            backlog.warn(place, f"{show(name)}: {target} is no time: {show(value)}")


def _read_state(backlog: Backlog, issue: Mapping[str, Any], draft: Draft) -> None:
    state = text_of(issue.get("state")).lower()
    reason = text_of(issue.get("stateReason") or issue.get("state_reason")).lower()
    if state == "closed" or (not state and issue.get("closed") is True):
        if reason in ("not_planned", "duplicate"):
            draft.standing, draft.why = Standing.LEFT_OUT, "closed as " + reason.replace("_", " ")
            backlog.skip(draft.place, f"{show(draft.id)}: {draft.why}")
        else:
            draft.standing = Standing.DONE
    elif state not in ("open", ""):
        draft.standing = Standing.HELD
        backlog.warn(draft.place, f"{show(draft.id)} is held: its state {show(state)} is not known")


def _without_code(body: str) -> str:
    kept: list[str] = []
    fence = ""
    for line in body.split("\n"):
        mark = line.lstrip()[:3]
        if fence:
            fence = "" if mark == fence else fence
        elif mark in ("```", "~~~"):
            fence = mark
        else:
            kept.append(line)
    return "\n".join(kept)


def _references(body: str) -> Iterator[tuple[str, int]]:
    """Repository (or nothing) and number of each issue that the text says it waits for; code blocks do not count."""
    text = _without_code(body)
    for match in _BLOCKED.finditer(text):
        at = match.end()
        while named := _NEXT.match(text, at):
            yield named["repo"] or named["path"] or "", int(named["number"])
            at = named.end()
    for named in _TASK.finditer(text):
        yield named["repo"] or named["path"] or "", int(named["number"])
