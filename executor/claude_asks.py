"""What Claude asks of people, and how their answers go back to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from executor.claude_tools import fit, title
from executor.lenient import clean, items, mapping, one_line, text

ALLOW = "Allow once"
ALLOW_SESSION = "Allow for this session"
DENY = "Deny"
APPROVE = "Approve"
KEEP_PLANNING = "Keep planning"

BODY_LIMIT = 64 * 1024
"""Bytes of a command, plan or question that people are shown."""


@dataclass(frozen=True, slots=True)
class AskRequest:
    """One thing a person must decide; a request of several questions becomes one of these for each."""

    id: str
    """The request's id, a dot and the question's number: unique, and the same however often the line is read."""
    request_id: str
    kind: str
    """permission, question or plan"""
    title: str
    body: str
    choices: tuple[str, ...]
    multiple: bool
    request: str
    """What `answer_line` needs to know of it, as JSON."""


def asks(request_id: str, request: Mapping[str, Any]) -> tuple[AskRequest, ...]:
    """What a `can_use_tool` request asks."""
    name, given = text(request.get("tool_name")), mapping(request.get("input"))
    match name:
        case "AskUserQuestion" if items(given.get("questions")):
            return _questions(request_id, given)
        case "ExitPlanMode":
            return (_plan(request_id, given),)
        case _:
            return (_permission(request_id, name, given, request),)


def _questions(request_id: str, given: Mapping[str, Any]) -> tuple[AskRequest, ...]:
    questions = [mapping(question) for question in items(given["questions"])]
    return tuple(
        AskRequest(
            id=f"{request_id}.{index}",
            request_id=request_id,
            kind="question",
            title=one_line(text(question.get("question"))),
            body=_question_body(question),
            choices=tuple(_label(option) for option in items(question.get("options"))),
            multiple=question.get("multiSelect") is True,
            request=_dump(
                request_id=request_id,
                kind="question",
                index=index,
                count=len(questions),
                # The whole input goes back with the answers; each question keeps its own, the first the others' too.
                question=text(question.get("question")),
                **({"input": dict(given)} if index == 0 else {}),
            ),
        )
        for index, question in enumerate(questions)
    )


def _question_body(question: Mapping[str, Any]) -> str:
    lines = [text(question.get("question"))]
    for option in items(question.get("options")):
        described = text(mapping(option).get("description"))
        lines.append(f"- {_label(option)}" + (f": {described}" if described else ""))
    return fit("\n".join(lines), BODY_LIMIT)[0]


def _label(option: Any) -> str:
    return clean(text(mapping(option).get("label")) or text(option))


def _plan(request_id: str, given: Mapping[str, Any]) -> AskRequest:
    plan = text(given.get("plan"))
    return AskRequest(
        id=f"{request_id}.0",
        request_id=request_id,
        kind="plan",
        title="Claude has a plan",
        body=fit(plan or "(Claude wrote no plan down.)", BODY_LIMIT)[0],
        choices=(APPROVE, KEEP_PLANNING),
        multiple=False,
        request=_dump(request_id=request_id, kind="plan"),
    )


def _permission(request_id: str, name: str, given: Mapping[str, Any], request: Mapping[str, Any]) -> AskRequest:
    rules = _session_rules(request)
    said = title(name, given) or one_line(text(request.get("description")))
    reason = text(request.get("decision_reason"))
    body = fit(_input_body(name, given), BODY_LIMIT)[0]
    return AskRequest(
        id=f"{request_id}.0",
        request_id=request_id,
        kind="permission",
        title=one_line(f"{name}: {said}" if said else name),
        body=body + (f"\n\n{clean(reason[:1000])}" if reason else ""),
        choices=(ALLOW, ALLOW_SESSION, DENY) if rules else (ALLOW, DENY),
        multiple=False,
        request=_dump(request_id=request_id, kind="permission", rules=rules),
    )


def _session_rules(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    # Only what is for just this call, and kept in this process: other destinations write settings into the
    # repository, and `setMode` would widen everything.
    suggestions = [mapping(suggestion) for suggestion in items(request.get("permission_suggestions"))]
    if not any(suggestion.get("type") == "addRules" for suggestion in suggestions):
        return []
    return [
        {**suggestion, "destination": "session"}
        for suggestion in suggestions
        if suggestion.get("type") == "addDirectories"
        or (suggestion.get("type") == "addRules" and suggestion.get("behavior") == "allow")
    ]


def _input_body(name: str, given: Mapping[str, Any]) -> str:
    if name == "Bash":
        return text(given.get("command"))
    return "\n".join(
        f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in given.items()
    )


def _dump(**fields: Any) -> str:
    return clean(json.dumps(fields, ensure_ascii=False))


def answer_line(answered: Sequence[tuple[str, str]], *, mode: str = "bypassPermissions") -> bytes | None:
    """The line that answers a request, from the (request, answer) of each of its asks, in any order.

    An answer is a JSON string, one of the ask's choices or free text, or a JSON array of such. None while a
    question of the request has no answer. `mode` is the permission mode that an approved plan goes on in.
    """
    stored = [(json.loads(request), _chosen(answer)) for request, answer in answered]
    first = next((request for request, _ in stored if request.get("index", 0) == 0), None)
    if first is None or len({request.get("index", 0) for request, _ in stored}) < first.get("count", 1):
        return None
    match first["kind"]:
        case "question":
            answers = {request["question"]: ", ".join(chosen) for request, chosen in stored}
            response = {"behavior": "allow", "updatedInput": {**first["input"], "answers": answers}}
        case "plan":
            response = _plan_answer(stored[0][1], mode)
        case _:
            response = _permission_answer(stored[0][1], first["rules"])
    return control_response(first["request_id"], response)


def _plan_answer(chosen: Sequence[str], mode: str) -> dict[str, Any]:
    if _is(chosen, APPROVE):
        return {
            "behavior": "allow",
            "updatedPermissions": [{"type": "setMode", "mode": mode, "destination": "session"}],
        }
    wish = "" if _is(chosen, KEEP_PLANNING) else " ".join(chosen)
    return {"behavior": "deny", "message": wish or "Not yet: keep planning, and ask what is unclear."}


def _permission_answer(chosen: Sequence[str], rules: list[dict[str, Any]]) -> dict[str, Any]:
    # Without `updatedInput` the CLI runs the call as Claude made it: what was stored of it may be redacted.
    if _is(chosen, ALLOW):
        return {"behavior": "allow"}
    if _is(chosen, ALLOW_SESSION):
        return {"behavior": "allow", "updatedPermissions": rules}
    wish = "" if _is(chosen, DENY) else " ".join(chosen)
    return {"behavior": "deny", "message": wish or "The person who was asked does not allow this."}


def _is(chosen: Sequence[str], choice: str) -> bool:
    return len(chosen) == 1 and chosen[0].strip().casefold() == choice.casefold()


def _chosen(answer: str) -> list[str]:
    value = json.loads(answer)
    return [str(part) for part in value] if isinstance(value, list) else [str(value)]


def control_response(request_id: str, response: Mapping[str, Any]) -> bytes:
    """The line that answers a control request of the CLI's."""
    answer = {"subtype": "success", "request_id": request_id, "response": response}
    return json.dumps({"type": "control_response", "response": answer}).encode() + b"\n"
