"""Settings of the egress guard: what may be connected to beside what other settings name."""

from pydantic import field_validator

from hub.egress.rule import Rule
from hub.model_settings import Table


class EgressSettings(Table):
    """The guard of outgoing connections; it always stands."""

    allow: tuple[str, ...] = ()
    """Further destinations: `proxy.example.org:3128`, `*.example.org`, `10.0.0.0/8:443`; without a port, every port."""

    @field_validator("allow")
    @classmethod
    def _read_all(cls, allow: tuple[str, ...]) -> tuple[str, ...]:
        for text in allow:
            Rule.read(text, purpose="")
        return allow
