"""How a turn ended and what it cost, and what the CLI says of limits and retries, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from executor.events import Notice, Usage
from executor.lenient import clean, items, mapping, number, one_line, text


@dataclass(frozen=True, slots=True)
class TurnResult:
    """The end of a turn."""

    ok: bool
    reason: str
    """A stable word: success, interrupted, budget, turns, limit, api or error."""
    sentence: str
    """Why it did not go well; empty where it did."""
    usage: Usage


def usage(result: Mapping[str, Any], before: float) -> tuple[Usage, float]:
    """This turn's own cost and tokens, and the process's total cost so far, given the total before it."""
    total = number(result.get("total_cost_usd"))
    since = result.get("model_usage_since_last_result")
    if isinstance(since, dict):
        # Counts subagents too, and is right across resumes, where the total goes on from the last process.
        models = [mapping(model) for model in since.values()]
        cost = sum(number(model.get("costUSD")) for model in models)
        counted = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")
        tokens = [int(sum(number(model.get(name)) for model in models)) for name in counted]
    else:
        cost = max(0.0, total - before)
        own = mapping(result.get("usage"))
        names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        tokens = [int(number(own.get(name))) for name in names]
    return (
        Usage(
            cost_usd=cost,
            input_tokens=tokens[0],
            output_tokens=tokens[1],
            cache_read_tokens=tokens[2],
            cache_write_tokens=tokens[3],
            turns=int(number(result.get("num_turns"))),
            duration_ms=int(number(result.get("duration_ms"))),
        ),
        total,
    )


def outcome(result: Mapping[str, Any]) -> tuple[str, str]:
    """The stable word for how the turn ended, and the sentence where it did not go well."""
    subtype, terminal = text(result.get("subtype")), text(result.get("terminal_reason"))
    if terminal.startswith("aborted"):
        return "interrupted", "The turn was interrupted."
    if subtype == "error_max_budget_usd" or terminal == "budget_exhausted":
        return "budget", f"The budget of this job is used up: {_money(result)} spent."
    if subtype == "error_max_turns" or terminal == "max_turns":
        return "turns", "Claude reached the limit of its steps."
    if subtype == "success" and result.get("is_error") is not True:
        return "success", ""
    said = one_line(text(result.get("result")), 1000) or _errors(result)
    # A failure of the API comes as a success that is an error.
    status = int(number(result.get("api_error_status")))
    if result.get("api_error") == "usage_limit_reached":
        return "limit", said or "The usage limit is reached."
    if status or terminal == "api_error":
        return "api", said or f"The model API failed ({status or 'no answer'})."
    return "error", said or "Claude Code ended the turn with an error."


def _errors(result: Mapping[str, Any]) -> str:
    errors = [text(error) for error in items(result.get("errors"))]
    return one_line("; ".join(error for error in errors if error and not error.startswith("[ede_diagnostic]")), 1000)


def _money(result: Mapping[str, Any]) -> str:
    return f"${number(result.get('total_cost_usd')):.2f}"


_RETRIES = {
    529: "API overloaded",
    429: "API rate limit",
    401: "API key refused",
    403: "API access refused",
}


def retry(event: Mapping[str, Any]) -> Notice:
    """What an `api_retry` event means: shown, since three minutes of them look like a hang."""
    status = int(number(event.get("error_status")))
    what = f"{_RETRIES.get(status, 'API error')} ({status})" if status else "API connection lost"
    attempt, most = int(number(event.get("attempt"))), int(number(event.get("max_retries")))
    seconds = number(event.get("retry_delay_ms")) / 1000
    wait = f"{seconds:.0f}" if seconds >= 1 else f"{seconds:.1f}"
    return Notice("warning", "retry", f"{what}, retry {attempt} of {most} in {wait} s")


_WINDOWS = {
    "five_hour": "5-hour",
    "seven_day": "7-day",
    "seven_day_opus": "7-day Opus",
    "seven_day_sonnet": "7-day Sonnet",
    "overage": "extra usage",
}


def limit(event: Mapping[str, Any]) -> Notice | None:
    """What a `rate_limit_event` means, with when the limit resets."""
    info = mapping(event.get("rate_limit_info"))
    kind = text(info.get("rateLimitType"))
    window = _WINDOWS.get(kind) or one_line(kind.replace("_", " "), 40) or "usage"
    resets = f"; it resets at {_time(info.get('resetsAt'))}" if number(info.get("resetsAt")) else ""
    match info.get("status"):
        case "rejected":
            return Notice("error", "limit", f"The {window} limit is reached{resets}")
        case "allowed_warning":
            used = f"{number(info.get('utilization')) * 100:.0f} % of the {window} limit is used"
            return Notice("warning", "limit", f"{used}{resets}")
        case _:
            return None


def _time(value: Any) -> str:
    try:
        return datetime.fromtimestamp(number(value), UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, OSError, ValueError):
        return "an unknown time"


def denied(event: Mapping[str, Any]) -> Notice:
    """What a `permission_denied` event means."""
    name = one_line(text(event.get("tool_name")), 60) or "A tool"
    return Notice("warning", "denied", clean(f"{name} was not allowed: {one_line(text(event.get('message')), 500)}"))


def compacted(event: Mapping[str, Any]) -> Notice:
    """What a `compact_boundary` event means."""
    before = int(number(mapping(event.get("compact_metadata")).get("pre_tokens")))
    of = f" of {before} tokens" if before else ""
    return Notice("info", "compact", f"The conversation{of} was summarised to make room")


def remark(subtype: str, event: Mapping[str, Any]) -> Notice | None:
    """What the CLI says to people by itself: a fallback to another model, a warning."""
    said = one_line(text(event.get("content")) or text(event.get("message")) or text(event.get("text")), 500)
    if subtype == "notification" or not said:
        return None
    return Notice("info" if subtype == "informational" else "warning", subtype, said)
