"""The operators' routes, each for keys with the scope `admin` alone."""

from aiohttp import web

from hub.api.admin.documents import DocumentRoutes
from hub.api.admin.erasures import PATH as ERASURES
from hub.api.admin.erasures import ErasureRoutes
from hub.api.admin.gaps import GapRoutes
from hub.api.admin.people import PeopleRoutes
from hub.api.auth import Handler, KeyedHandler, scoped
from hub.api.body import takes_bodies_of
from hub.api.parts import ApiParts
from hub.keys import ADMIN_SCOPE

PREFIX = "/api/v1/admin"


def admin_routes(parts: ApiParts) -> list[web.RouteDef]:
    """Return the routes; none where this process is not told what they need."""
    admin = parts.admin
    if admin is None:
        return []
    documents, gaps = DocumentRoutes(admin, parts.settings), GapRoutes(admin)
    people, erasures = PeopleRoutes(admin, parts.settings), ErasureRoutes(admin, parts.settings)

    def own(handler: KeyedHandler) -> Handler:
        return scoped(parts, ADMIN_SCOPE, handler)

    collections = f"{PREFIX}/collections"
    collection = f"{collections}/{{collection}}"
    person = f"{PREFIX}/people/{{person}}"
    return [
        web.get(collections, own(documents.list_collections), allow_head=False),
        web.put(collection, own(documents.put_collection)),
        web.delete(collection, own(documents.remove_collection)),
        web.get(f"{collection}/documents", own(documents.list_documents), allow_head=False),
        web.put(
            f"{collection}/documents",
            takes_bodies_of(admin.max_document_bytes)(own(documents.put_document)),
        ),
        web.delete(f"{collection}/documents/{{document}}", own(documents.remove_document)),
        web.get(f"{PREFIX}/gaps", own(gaps.list_gaps), allow_head=False),
        web.delete(f"{PREFIX}/gaps/{{gap}}", own(gaps.forget)),
        web.get(f"{PREFIX}/people", own(people.list_people), allow_head=False),
        web.get(person, own(people.show), allow_head=False),
        web.get(f"{person}/export", own(people.export), allow_head=False),
        web.put(f"{person}/facts/{{fact}}", own(people.correct_fact)),
        web.delete(f"{person}/facts/{{fact}}", own(people.forget_fact)),
        web.get(ERASURES, own(erasures.list_erasures), allow_head=False),
        web.post(ERASURES, own(erasures.begin)),
        web.get(f"{ERASURES}/{{erasure}}", own(erasures.show), allow_head=False),
    ]
