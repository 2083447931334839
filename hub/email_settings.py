"""Settings of the e-mail channel: mailboxes, and how they are looked after."""

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, model_validator

from hub.model_settings import Count, Seconds, Table


class MailAccountSettings(Table):
    """One mailbox."""

    address: str
    name: str = "Assistant"
    """Display name in the From header."""
    username: str = ""
    """Empty: the address."""
    password: SecretStr = SecretStr("")
    """Empty: `email.password`."""
    imap_host: str
    imap_port: Annotated[int, Field(ge=1, le=65535)] = 993
    imap_tls: Literal["tls", "starttls", "none"] = "tls"
    smtp_host: str
    smtp_port: Annotated[int, Field(ge=1, le=65535)] = 465
    smtp_tls: Literal["tls", "starttls", "none"] = "tls"
    ca_file: str = ""
    """Certificate authority file for a server with a private one."""
    folder: str = "INBOX"
    done: Literal["keyword", "move"] = "keyword"
    """What shows that the hub has dealt with a mail: its keyword `$HubDone`, or that answered mail is moved."""
    done_folder: str = "Hubbub"
    """Folder that answered mail is moved to; it is made when there is none."""
    sent_folder: str = ""
    """Folder that gets a copy of every reply; empty keeps none."""
    aliases: tuple[str, ...] = ()
    """Other addresses whose mail arrives in this mailbox."""
    authserv_id: str = ""
    """Name that this account's own mail server writes into Authentication-Results; empty trusts none."""
    self_copy: bool = False
    """Also send each reply to this mailbox: after a lost connection its copy tells that the reply had arrived."""


class EmailSettings(Table):
    """The e-mail connector; off while there are no accounts."""

    accounts: tuple[MailAccountSettings, ...] = ()
    password: SecretStr = SecretStr("")
    """Password of the accounts that name none."""
    idle_s: Seconds = 240.0
    """How long one IDLE lasts before it is renewed."""
    poll_s: Seconds = 60.0
    """Mail is looked for at least this often, whatever IDLE says."""
    command_timeout_s: Seconds = 30.0
    max_mail_bytes: Count = 10_485_760
    max_age_days: Count = 7
    """Mail that is older is left alone, so that an archive moved into the mailbox is not answered."""
    answer_copies: bool = False
    """Answer mail that names the mailbox in Cc only."""
    batch: Annotated[int, Field(ge=1, le=1000)] = 50
    """Waiting mails that are handed to the engines at once."""
    replies_per_sender_10min: Count = 5
    replies_per_sender_day: Count = 30
    replies_per_thread: Count = 20
    give_up_s: Seconds = 259_200.0

    @model_validator(mode="before")
    @classmethod
    def _check_accounts(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(accounts := values.get("accounts"), list | tuple):
            return values
        addresses = [str(one.get("address", "")).lower() for one in accounts if isinstance(one, dict)]
        if twice := sorted({address for address in addresses if addresses.count(address) > 1}):
            raise ValueError(f"{', '.join(twice)} is there more than once")
        shared = {"password": values.get("password", "")}
        return {**values, "accounts": [shared | one if isinstance(one, dict) else one for one in accounts]}
