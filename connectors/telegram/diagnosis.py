"""What Telegram says of a webhook, in words for the operator."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from aiogram.types import User, WebhookInfo

from connectors.telegram.webhook import PATH

RECENT_S = 3600.0
"""An older failure of the webhook is history."""

_CAUSES = (
    (
        r"resolve|no address",
        "The host name of api.public_url is not known to the world's DNS; correct the name or its DNS entry.",
    ),
    (
        r"certificate|ssl|tls",
        "Telegram does not accept the certificate; use one of a public authority, with its whole chain.",
    ),
    (
        r"refused|reset|closed",
        "Nothing answers at api.public_url; check that the proxy runs and its port is open.",
    ),
    (r"timed? ?out", "Connections to api.public_url run into nothing; check firewall and router."),
    (
        r"\b401\b",
        "The hub was sent another secret or called from outside telegram.webhook_networks; a restart sets the secret anew.",
    ),
    (r"\b40[345]\b", f"The proxy does not hand {PATH} to the hub; check its rules."),
    (r"\b50[234]\b", "The proxy answers, but the hub behind it does not; check that the hub runs."),
    (r"\b5\d\d\b", "The hub fails; its log says why."),
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """How the bot is connected."""

    is_well: bool
    text: str
    advice: str = ""


def diagnose(bot: User, hook: WebhookInfo, *, public_url: str) -> Diagnosis:
    """Explain how updates come, how many wait, what went wrong last and what to do."""
    expected = f"{public_url.rstrip('/')}{PATH}" if public_url else ""
    how = f"webhook {hook.url}" if hook.url else "long polling"
    groups = "all messages" if bot.can_read_all_group_messages else "commands, mentions and replies"
    text = f"@{bot.username} by {how}, {hook.pending_update_count} updates wait; in groups it sees {groups}"
    if hook.url != expected:
        return Diagnosis(False, text, _misplaced(hook.url, expected))
    if hook.last_error_date is None or not hook.last_error_message:
        return Diagnosis(True, text)
    age_s = (datetime.now(UTC) - hook.last_error_date).total_seconds()
    ago = f"{age_s / 60:.0f} min ago" if age_s < RECENT_S else f"at {hook.last_error_date:%Y-%m-%d %H:%M} UTC"
    text += f'; the last delivery that failed did so {ago}: "{hook.last_error_message}"'
    if age_s >= RECENT_S and not hook.pending_update_count:
        return Diagnosis(True, text)
    return Diagnosis(False, text, _cause(hook.last_error_message))


def _misplaced(found: str, expected: str) -> str:
    if not expected:
        return "Another program has set this webhook, and there is no api.public_url here: the hub removes it and polls."
    if found:
        return f"Another program with this token has set it; the hub sets {expected} again within 10 min."
    return (
        f"The webhook {expected} is not set. A hub that runs asks for updates by polling meanwhile, because the webhook "
        "could not be reached, and tries it again every 30 min; its log says why (webhook_failed)."
    )


def _cause(message: str) -> str:
    for pattern, advice in _CAUSES:
        if re.search(pattern, message, re.IGNORECASE):
            return advice
    return "Check that api.public_url is right and can be reached from the internet."
