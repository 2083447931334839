"""Settings of traces: where spans go, which of them, and under which name."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from hub.model_settings import Seconds, Table


class TraceSettings(Table):
    """Traces by OpenTelemetry; off until `endpoint` is set."""

    endpoint: str = ""
    """Full address of a collector that takes OTLP by HTTP, "http://127.0.0.1:4318/v1/traces"."""
    headers: SecretStr = SecretStr("")
    """Headers of each request to it, as `name=value` with commas between; for its key."""
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of messages that are traced. A caller that sends `traceparent` has decided for its own."""
    service_name: str = "hubbub"
    timeout_s: Seconds = 5.0
    """For one request to the collector; no message ever waits for it."""

    @field_validator("endpoint")
    @classmethod
    def _expect_an_address(cls, endpoint: str) -> str:
        if endpoint and not (endpoint.startswith(("http://", "https://")) and urlsplit(endpoint).hostname):
            raise ValueError("must begin with http:// or https:// and name a host")
        return endpoint

    @field_validator("headers")
    @classmethod
    def _expect_pairs(cls, headers: SecretStr) -> SecretStr:
        # The value itself is a secret: the message must not quote it.
        if any("=" not in pair for pair in headers.get_secret_value().split(",") if pair.strip()):
            raise ValueError("must be name=value, with commas between several")
        return headers
