"""Words, sentences and blocks of a text: what memory, selection and the check of an answer look at."""

import re
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

_WORD = re.compile(r"[^\s!-/:-@\[-`{-~…«»„“”‘’‚–—¿¡।。、，！？]+(?:'(?:t|s|re|ve|ll|d|m)\b)?")
"""An apostrophe belongs to the word in "isn't" and "Perl's": "isn" would be a word that carries meaning, and no denial."""
_SENTENCE_END = re.compile(r"(?<=[.!?।。！？])([\"'”’)\]*_`]*)\s+(?=[\"'“‘(\[*_`«¿¡]*[^\sa-z])")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|dr|mr|mrs|ms|prof|st|vs|etc|no|fig|cf|approx)|\b[A-Z])\.$", re.IGNORECASE
)
_ABBREVIATION_CHARS = 8
_LIST_ITEM = re.compile(r"\s{0,8}(?:[-*+•]|\d{1,3}[.)])\s+\S")
_FENCE = re.compile(r"\s{0,3}(```|~~~)")
_TABLE_ROW = re.compile(r"\s{0,3}\|.*\|\s*$")
_TABLE_RULE = re.compile(r"\|?(?:\s*:?-+:?\s*\|)*\s*:?-+:?\s*\|?|\|(?:\s*:?-*:?\s*\|)+")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_NUMBER_WORDS = frozenset(
    re.findall(r"\w+", "two three four five six seven eight nine ten eleven twelve twenty hundred thousand")
)
STOP_WORDS = frozenset(
    re.findall(
        r"[\w']+",
        """a about above after again actually all also am an and any are as at be because been before being below between both
    but by can could did do does doing done down during each else ever few for from further get gets give given gives go
    had handle handles happen happens happened has have having he her here hers him his how i if in into is it its itself just kind kinds know let like long made make many
    may me mean means might i'm i'd i'll i've mine more most much must my need new no nor not now of off on once one only or other our ours out
    over own per please possible put same shall she should so some such sort take tell tells than that the their theirs them then there
    these they thing things this those through to too turn type types under until up us use used user using very want was way we
    well were what when where which while who whom whose why will with within without would yes yet you your
    yours
    ain't aren't can't couldn't didn't doesn't don't hadn't hasn't haven't isn't mustn't shouldn't wasn't weren't won't wouldn't
    let's they're they've they'll we're we've we'll you're you've you'll""",
    )
)


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a document that makes sense by itself."""

    kind: Literal["sentence", "list", "code", "row"]
    """`row`: one row of a table, each cell named by its column."""
    text: str


def words(text: str) -> list[str]:
    """Split text into lower-case words, without punctuation."""
    return _WORD.findall(text.lower().replace("’", "'"))


def stem(word: str) -> str:
    """Cut an English word's ending off, so that forms of one word compare equal; other words change little."""
    word = word.removesuffix("'s")
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        word = word[:-1]
    for suffix in ("ing", "ed", "ly", "er"):
        if word.endswith(suffix) and len(word) >= len(suffix) + 4:
            word = word.removesuffix(suffix)
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] != "s":
        word = word[:-1]
    if len(word) > 3 and word[-1] in "ey":
        word = word[:-1]
    return word.removesuffix("i") if len(word) > 4 else word


def content_sequence(text: str) -> list[str]:
    """Return the stems of the words that carry meaning, in their order."""
    return [
        stem(word)
        for word in words(text)
        if word.removesuffix("'s") not in STOP_WORDS and (len(word) > 1 or word.isdigit())
    ]


def content_stems(text: str) -> set[str]:
    """Return the stems of the words that carry meaning."""
    return set(content_sequence(text))


def sentences(text: str) -> list[str]:
    """Split running text into sentences; an abbreviation's full stop ends none."""
    parts: list[list[str]] = []
    is_open = False
    pieces = _SENTENCE_END.split(" ".join(text.split()))
    # Every second piece closes the one before: a quotation mark, a bracket, a Markdown mark.
    for part in map("".join, zip_longest(pieces[::2], pieces[1::2], fillvalue="")):
        if is_open:
            parts[-1].append(part)
        elif part:
            parts.append([part])
        # Looked for at the end alone: a text of abbreviations would take its square.
        is_open = bool(parts) and bool(_ABBREVIATION.search(part, max(0, len(part) - _ABBREVIATION_CHARS)))
    return [" ".join(part) for part in parts]


def blocks(text: str) -> list[Block]:
    """Split Markdown or plain text into sentences, whole lists and whole code blocks; headings are left out."""
    found: list[Block] = []
    lines = text.splitlines()
    position = 0
    while position < len(lines):
        end, kind = _block_end(lines, position)
        piece = "\n".join(lines[position:end]).strip("\n")
        if kind == "text":
            found += [Block("sentence", sentence) for sentence in sentences(piece)]
        elif kind == "table":
            found += [Block("row", row) for row in _rows(lines[position:end])]
        elif kind == "list":
            found.append(Block(kind, "\n".join(_unwrapped(piece.split("\n")))))
        elif kind == "code":
            found.append(Block(kind, piece))
        position = end
    return found


def _unwrapped(lines: list[str]) -> list[str]:
    """Put the lines of each item of a list together: where a file breaks them says nothing, and readers keep breaks."""
    joined: list[str] = []
    in_code = goes_on = False
    for line in lines:
        is_fence = bool(_FENCE.match(line.lstrip()))
        if goes_on and line.strip() and not is_fence and not _begins_block(line):
            joined[-1] = f"{joined[-1].rstrip()} {line.strip()}"
        else:
            joined.append(line)
        in_code ^= is_fence
        goes_on = bool(line.strip()) and not in_code and not is_fence
    return joined


def _rows(lines: list[str]) -> list[str]:
    """Write each row of a table as a sentence of its own: "Spectrometer: fee 12 euros; training one hour."."""
    table = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    has_header = len(lines) > 1 and bool(_TABLE_RULE.fullmatch(lines[1].strip()))
    header = table[0] if has_header else []
    rows = []
    for cells in table[2 if has_header else 0 :]:
        named = [
            f"{name}: {cell}" if name else cell
            for name, cell in zip_longest(header[1:], cells[1:], fillvalue="")
            if cell
        ]
        if cells[0] or named:
            rows.append(
                f"{cells[0]}: {'; '.join(named)}." if named and cells[0] else f"{cells[0]}{'; '.join(named)}."
            )
    return rows


def _block_end(lines: list[str], start: int) -> tuple[int, Literal["text", "list", "code", "table", "skip"]]:
    line = lines[start]
    if not line.strip() or _HEADING.match(line):
        return start + 1, "skip"
    if fence := _FENCE.match(line):
        closing = (i for i in range(start + 1, len(lines)) if lines[i].strip() == fence.group(1))
        return next(closing, len(lines) - 1) + 1, "code"
    if _LIST_ITEM.match(line):
        return _list_end(lines, start), "list"
    if _TABLE_ROW.match(line):
        rest = (i for i in range(start + 1, len(lines)) if not _TABLE_ROW.match(lines[i]))
        return next(rest, len(lines)), "table"
    end = start + 1
    while end < len(lines) and lines[end].strip() and not _begins_block(lines[end]):
        end += 1
    return end, "text"


def _list_end(lines: list[str], start: int) -> int:
    end = start + 1
    while end < len(lines):
        line = lines[end]
        is_part = _LIST_ITEM.match(line) or (line.startswith((" ", "\t")) and line.strip())
        follows = (
            not line.strip()
            and end + 1 < len(lines)
            and (_LIST_ITEM.match(lines[end + 1]) or lines[end + 1].startswith(("  ", "\t")))
        )
        is_wrapped = line.strip() and lines[end - 1].strip() and not _begins_block(line)
        if not (is_part or follows or is_wrapped):
            break
        end += 1
    return end


def _begins_block(line: str) -> bool:
    return any(begin.match(line) for begin in (_LIST_ITEM, _FENCE, _HEADING, _TABLE_ROW))


def numbers(text: str) -> set[str]:
    """Return the numbers of a text, as digits or as small words."""
    return set(_NUMBER.findall(text)) | (_NUMBER_WORDS & set(words(text)))


def around_numbers(text: str) -> tuple[list[str], list[str]]:
    """Return the pieces of a text before, between and behind its numbers, and these numbers."""
    return _NUMBER.split(text), _NUMBER.findall(text)


def names(text: str) -> set[str]:
    """Return the stems of the capitalised words that do not begin a sentence."""
    found: set[str] = set()
    for sentence in sentences(text):
        capitalised = (raw for raw in sentence.split()[1:] if raw.lstrip("(\"'“*_`")[:1].isupper())
        found |= {stem(word) for raw in capitalised for word in words(raw) if word not in STOP_WORDS}
    return found
