"""Misconfigurations of the models, of what the world reaches, and of the channels."""

import json

from connectors.telegram.webhook import PATH
from tests.emulators.bot_api_methods import Webhook
from tests.hub.cli.bench import HUB, SECRET, Bench, case
from tests.servers.redis import free_port


@case("models", "fail", "chat model", "nowhere.gguf", "hubbub models pull")
def model_file_missing(bench: Bench) -> None:
    """Its path leads nowhere."""
    bench.model({"type": "gguf", "path": str(bench.data / "nowhere.gguf")})


@case("models", "fail", "chat model", "big", "hubbub models pull")
def model_file_damaged(bench: Bench) -> None:
    """Its file was cut off."""
    path = bench.data / "big.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    bench.model({"type": "gguf", "path": str(path)})


@case("models", "fail", "chat model", "1 MiB|memory|budget", "`memory_budget`")
def model_larger_than_the_budget(bench: Bench) -> None:
    """More than models may take together."""
    bench.model({"type": "gguf"}, memory_budget="1MB")


@case("models", "fail", "embedding model", "expected weights", "`embedding_model`")
def embedding_model_missing(bench: Bench) -> None:
    """An empty folder."""
    bench.settings["knowledge"] = {"embedding_model": str(bench.data)}


@case("models", "warn", "models.json", "large", "docs/models.md")
def models_json_wrong(bench: Bench) -> None:
    """One entry has no type that exists."""
    # Nothing is loaded for it.
    bench.model({"type": "gguf", "path": str(bench.data / "nowhere.gguf")})
    (bench.data / "models.json").write_text(json.dumps({"models": {"large": {"type": "magic"}}}))


@case("web", "warn", "proxy", "count as one address", "trusted_proxies")
def proxy_not_trusted(bench: Bench) -> None:
    """All visitors look like the proxy."""
    bench.settings["api"] = {"public_url": "https://hub.example.org"}


@case("web", "warn", "public_url", "is not https", "public_url = ")
def public_url_without_tls(bench: Bench) -> None:
    """Keys go in the clear."""
    bench.settings["api"] = {"public_url": "http://hub.example.org"}


@case("web", "fail", "public_url", "expected an origin", "public_url = ")
def public_url_is_none(bench: Bench) -> None:
    """An address without its scheme."""
    bench.settings["api"] = {"public_url": "hub.example.org"}


@case("web", "fail", "web", "web.allowed_origins: expected an origin", "no path, no `*`")
def origin_with_a_path(bench: Bench) -> None:
    """Browsers send none."""
    bench.settings["web"] = {"allowed_origins": ["https://www.example.org/shop"]}


@case("web", "warn", "web", "web.sites, shop", "https://shop.example.org")
def site_without_tls(bench: Bench) -> None:
    """Anybody on the way can change its pages."""
    bench.settings["web"] = {"sites": [{"key": "shop", "origins": ["http://shop.example.org"]}]}


@case("web", "warn", "keys", "POST /generate-key", "self_service = false")
def self_service_in_public(bench: Bench) -> None:
    """Everybody may get a key."""
    bench.settings["api"] = {"host": "0.0.0.0"}


@case("telegram", "fail", "telegram", "Unauthorized", "@BotFather")
async def telegram_wrong_token(bench: Bench) -> None:
    """It was revoked."""
    await bench.bot()
    bench.settings["telegram"]["token"] = "123456:AAwrongwrongwrongwrongwrongwrongwro"


@case("telegram", "fail", "telegram", "expected a token of @BotFather", "@BotFather")
async def telegram_no_token(bench: Bench) -> None:
    """Something else was pasted."""
    await bench.bot()
    bench.settings["telegram"]["token"] = SECRET


@case("telegram", "fail", "telegram", "cannot be used", "telegram.api_base")
async def telegram_away(bench: Bench) -> None:
    """A firewall stands between."""
    await bench.bot()
    bench.settings["telegram"]["api_base"] = f"http://127.0.0.1:{free_port()}"


@case("telegram", "fail", "telegram", "cannot be used", "telegram.api_base")
async def telegram_away_under_a_name_like_an_answer(bench: Bench) -> None:
    """What decides is what happened, not the words and digits of the address."""
    await bench.bot()
    bench.settings["telegram"]["api_base"] = f"http://token-404.localhost:{free_port()}"


@case("telegram", "warn", "telegram", "other.example.org", "Another program")
async def telegram_webhook_elsewhere(bench: Bench) -> None:
    """Another program uses the token."""
    (await bench.bot()).webhook = Webhook(
        url="https://other.example.org/hook", secret="x", max_connections=40
    )


@case("telegram", "warn", "telegram", "502", "check that the hub runs")
async def telegram_webhook_failed(bench: Bench) -> None:
    """The proxy stands, and the hub behind it does not."""
    telegram = await bench.bot(public_url="https://hub.example.org")
    telegram.webhook = Webhook(url=f"https://hub.example.org{PATH}", secret="x", max_connections=40)
    telegram.note_failure(502)


@case("telegram", "warn", "telegram webhook", "is not https", "public_url = ")
async def telegram_webhook_without_tls(bench: Bench) -> None:
    """Telegram calls no such address."""
    await bench.bot(public_url="http://hub.example.org")


@case("email", "fail", f"email {HUB}", "IMAP server cannot be used", "username and password")
def imap_wrong_password(bench: Bench) -> None:
    """A typing error."""
    bench.mailbox(password=SECRET)


@case("email", "fail", f"email {HUB}", "IMAP server cannot be used", "one that is there: INBOX")
def imap_folder_missing(bench: Bench) -> None:
    """A folder of another account."""
    bench.mailbox(folder="Questions")


@case("email", "warn", f"email {HUB}", "without TLS", 'imap_tls = "tls"')
def imap_without_tls(bench: Bench) -> None:
    """Over the internet."""
    bench.mailbox(imap_host="mail.invalid")


@case("email", "fail", f"email {HUB}", "SMTP server cannot be used", "smtp_port")
def smtp_refused(bench: Bench) -> None:
    """Nothing listens there."""
    bench.mailbox(smtp_port=free_port())
