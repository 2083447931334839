"""The receipt of an erasure: what was removed by store and number, signed with a key of the hub, naming nobody."""

import hashlib
import hmac
from collections.abc import Mapping

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from hub.errors import HubError

ALGORITHM = "HMAC-SHA256"


class ReceiptForged(HubError):
    """A receipt was not made by this hub, or has been changed since."""


class ErasureReceipt(BaseModel):
    """What was done; it holds no data of the person, not even who they were."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    begun_at: AwareDatetime
    finished_at: AwareDatetime
    removed: Mapping[str, int]
    """Things that went, by store."""
    left: Mapping[str, int]
    """Things that were found when every store was looked through again: all 0."""
    files: tuple[str, ...]
    """Files that were written anew, so that what was removed does not lie in them."""
    version: str
    """Of the hub."""
    algorithm: str = ALGORITHM
    signature: str = ""

    def signed(self, key: bytes) -> "ErasureReceipt":
        """Return it with a signature over all other fields."""
        return self.model_copy(update={"signature": self._mac(key)})

    def verify(self, key: bytes) -> None:
        """Make sure that it is this hub's, and as it was made.

        Raises: ReceiptForged: it is not.
        """
        if self.algorithm != ALGORITHM or not hmac.compare_digest(self._mac(key), self.signature):
            raise ReceiptForged("this receipt was not made by this hub, or has been changed")

    def _mac(self, key: bytes) -> str:
        # Fields in the order of the model and no blanks: the same receipt always gives the same bytes.
        written = self.model_copy(
            update={"removed": dict(sorted(self.removed.items())), "left": dict(sorted(self.left.items()))}
        ).model_dump_json(exclude={"signature"})
        return hmac.digest(key, written.encode(), hashlib.sha256).hex()


def read_receipt(text: bytes) -> ErasureReceipt:
    """Read a receipt.

    Raises: ReceiptForged: the text holds none.
    """
    try:
        return ErasureReceipt.model_validate_json(text)
    except ValidationError:
        raise ReceiptForged("this is no receipt of an erasure") from None
