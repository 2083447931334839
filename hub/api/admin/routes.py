"""The operators' routes, all below one path."""

from hub.api.admin.audit import AuditRoutes
from hub.api.admin.conversations import ConversationRoutes
from hub.api.admin.dead import DeadLetterRoutes
from hub.api.admin.documents import DocumentRoutes
from hub.api.admin.egress import EgressRoutes
from hub.api.admin.erasures import ErasureRoutes
from hub.api.admin.events import EventRoutes
from hub.api.admin.gaps import GapRoutes
from hub.api.admin.keys import AdminKeyRoutes
from hub.api.admin.models import AdminModelRoutes
from hub.api.admin.operators import OperatorRoutes
from hub.api.admin.people import PeopleRoutes
from hub.api.admin.session import SessionRoutes
from hub.api.admin.settings import SettingsRoutes
from hub.api.parts import ApiParts
from hub.api.routes import Route


def admin_routes(parts: ApiParts) -> list[Route]:
    """Return the routes; none where this process is not told what they need."""
    admin = parts.admin
    if admin is None:
        return []
    return [
        *DocumentRoutes(admin, parts.settings).routes(),
        *GapRoutes(admin).routes(),
        *PeopleRoutes(admin, parts.settings).routes(),
        *ErasureRoutes(admin, parts.settings).routes(),
        *SessionRoutes(parts, admin).routes(),
        *OperatorRoutes(parts, admin.operators.store).routes(),
        *AuditRoutes(admin).routes(),
        *ConversationRoutes(admin, parts).routes(),
        *DeadLetterRoutes(admin, parts.settings).routes(),
        *EventRoutes(admin, parts).routes(),
        *AdminKeyRoutes(parts, admin.usage).routes(),
        *AdminModelRoutes(parts).routes(),
        *SettingsRoutes(admin).routes(),
        *EgressRoutes(admin).routes(),
    ]
