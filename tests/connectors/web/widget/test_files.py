"""Attaching files: by the paper clip, by dropping and by pasting."""

import asyncio
import contextlib

import pytest
from playwright.async_api import Error, FilePayload, Page, Route, expect

from connectors.web.uploads import MAX_FILE_BYTES
from tests.connectors.web.edges import Bus, HubProcess
from tests.connectors.web.widget.reading import answer

pytestmark = pytest.mark.asyncio(loop_scope="module")

DROP = """([names, kind]) => {
  const root = document.querySelector('hubbub-chat').shadowRoot;
  const transfer = new DataTransfer();
  for (const name of names) transfer.items.add(new File([`content of ${name}`], name, { type: 'text/plain' }));
  const options = { bubbles: true, cancelable: true, composed: true };
  const event = kind === 'paste'
    ? new ClipboardEvent(kind, { ...options, clipboardData: transfer })
    : new DragEvent(kind, { ...options, dataTransfer: transfer });
  root.querySelector(kind === 'paste' ? 'textarea' : '.log').dispatchEvent(event);
}"""


def file(name: str, size: int = 5) -> FilePayload:
    """Return a text file."""
    return {"name": name, "mimeType": "text/plain", "buffer": b"x" * size}


async def attach(page: Page, *files: FilePayload) -> None:
    """Choose files in the dialog that the paper clip opens."""
    async with page.expect_file_chooser() as chosen:
        await page.get_by_role("button", name="Attach files").click()
    await (await chosen.value).set_files(list(files))


async def test_files_go_with_the_question(full_page: Page, full_hub: HubProcess, bus: Bus) -> None:
    """Each has its line with a button to remove it; after sending they stand below the question."""
    await attach(full_page, file("a.txt"), file("b <b>.txt"), file("c.txt"))
    await expect(full_page.locator(".files li[data-state=ready]")).to_have_count(3)
    await full_page.get_by_role("button", name="Remove c.txt").click()
    await full_page.get_by_label("Your message").fill("What are these?")
    await full_page.keyboard.press("Enter")
    turn = await bus.next_turn()
    await full_hub.answer(turn, "Text.")

    await expect(answer(full_page)).to_have_text("Text.")
    await expect(full_page.locator(".sent")).to_have_text(["a.txt", "b <b>.txt"])
    await expect(full_page.locator(".files li")).to_have_count(0)
    assert [attachment.name for attachment in bus.messages[turn].attachments] == ["a.txt", "b <b>.txt"]


async def test_file_alone_is_a_question(full_page: Page, bus: Bus) -> None:
    """Send is there without a word, and the name is all that is shown."""
    send = full_page.get_by_role("button", name="Send message")
    await attach(full_page, file("a.txt"))
    await expect(send).to_be_enabled()
    await send.click()

    assert bus.messages[await bus.next_turn()].text == "a.txt"
    await expect(full_page.locator(".visitor .plain")).to_be_hidden()
    await expect(full_page.locator(".sent")).to_have_text("a.txt")


@pytest.mark.parametrize("kind", ["drop", "paste"])
async def test_files_can_be_dropped_and_pasted(full_page: Page, bus: Bus, kind: str) -> None:
    """A place for them is shown while they hover."""
    if kind == "drop":
        await full_page.evaluate(DROP, [["a.txt"], "dragover"])
        await expect(full_page.locator(".drop")).to_be_visible()
    await full_page.evaluate(DROP, [["a.txt", "b.txt"], kind])

    await expect(full_page.locator(".files li[data-state=ready]")).to_have_count(2)
    await expect(full_page.locator(".drop")).to_be_hidden()
    await full_page.get_by_label("Your message").press("Enter")
    message = bus.messages[await bus.next_turn()]
    assert [attachment.text for attachment in message.attachments] == ["content of a.txt", "content of b.txt"]


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (file("empty.txt", 0), "The file is empty."),
        (file("big.txt", MAX_FILE_BYTES + 1), "The file is too large: at most 10 MB."),
        (file("unsupported.problem"), "This file cannot be read."),
        (file("damaged.problem"), "This file cannot be read."),
        (file("encrypted.problem"), "The file is protected by a password."),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_file_that_cannot_be_read_is_told(
    full_page: Page, bus: Bus, chosen: FilePayload, said: str
) -> None:
    """Beside its name and to a screen reader; it holds nothing else up."""
    await attach(full_page, chosen)
    line = full_page.locator(".files li")
    await expect(line).to_contain_text(said)
    await expect(full_page.locator("[aria-live=polite]")).to_have_text(f"{chosen['name']}: {said}")
    await expect(full_page.get_by_role("button", name="Send message")).to_be_disabled()
    await full_page.get_by_label("Your message").fill("Never mind")
    await full_page.keyboard.press("Enter")

    assert bus.messages[await bus.next_turn()].attachments == ()
    await expect(line).to_have_count(0)


async def test_question_waits_for_its_files(full_page: Page, full_hub: HubProcess, bus: Bus) -> None:
    """How far they are is shown; what is removed meanwhile is not sent."""
    may_pass = asyncio.Event()

    async def hold(route: Route) -> None:
        await may_pass.wait()
        with contextlib.suppress(Error):  # that of the file which was removed
            await route.continue_()

    await full_page.route("**/widget/files", hold)
    await attach(full_page, file("a.txt"), file("b.txt"))
    await full_page.get_by_label("Your message").fill("What is it?")
    await full_page.keyboard.press("Enter")
    await expect(full_page.locator(".files li[data-state=uploading]")).to_have_count(2)
    await expect(full_page.get_by_role("button", name="Send message")).to_be_disabled()
    await full_page.get_by_role("button", name="Remove b.txt").click()
    may_pass.set()
    await expect(full_page.locator(".files li[data-state=ready]")).to_have_count(1)
    await full_page.get_by_label("Your message").press("Enter")

    (attachment,) = bus.messages[await bus.next_turn()].attachments
    assert attachment.name == "a.txt"


async def test_line_that_breaks_is_told(full_page: Page) -> None:
    """The visitor may try again; nothing waits for ever."""
    await full_page.route("**/widget/files", lambda route: route.abort())
    await attach(full_page, file("a.txt"))

    await expect(full_page.locator(".files li")).to_contain_text("The file could not be uploaded.")


async def test_five_files_at_once(full_page: Page) -> None:
    """More are not begun."""
    await attach(full_page, *(file(f"{number}.txt") for number in range(7)))

    await expect(full_page.locator(".files li")).to_have_count(5)
    await expect(full_page.locator("[aria-live=polite]")).to_have_text("At most 5 files at once.")


async def test_question_with_files_survives_a_reload(full_page: Page, full_hub: HubProcess, bus: Bus) -> None:
    """It was not sent yet: after the reload it goes with its files."""
    bus.fail_next()
    await attach(full_page, file("a.txt"))
    await expect(full_page.locator(".files li[data-state=ready]")).to_have_count(1)
    await full_page.get_by_label("Your message").fill("What is it?")
    await full_page.keyboard.press("Enter")
    await expect(full_page.locator(".status")).to_have_text("Busy right now, trying again…")
    await full_page.reload()

    assert len(bus.messages[await bus.next_turn()].attachments) == 1
