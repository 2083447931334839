"""The clauses of a message that state something in the person's own name.

What is quoted, asked, supposed, played, taken back or told after somebody else is left out: none of it is about the one
who writes. Conservative on purpose, as everything that is remembered for months should be.
"""

import re

HELLO = (
    r"(?:hi|hello|hey|good (?:morning|afternoon|evening|day)|dear \w+|hallo|hola|bonjour|ciao|namaste|olá|oi)"
    r"(?: there)?[\s,!.-]+"
)
_FILLER = (
    r"(?:(?:well|so|and|but|actually|yes|sorry|oh|ok|okay|please|by the way|also|just so you know"
    r"|(?:remember|note) that|no(?=,|\s+(?:i|i'm|my)\b))[,\s]+)"
)
_SMILEY = re.compile(
    r"(?::-?[)D(]|[\U0001f600\U0001f601\U0001f603-\U0001f608\U0001f60a-\U0001f60f\u263a\ufe0f])\Z"
)
"""At the end of a clause; those that wink or laugh out loud are not among them."""
_GREETING = re.compile(rf"^(?:{HELLO}|{_FILLER})+", re.IGNORECASE)
_TITLE = r"(?<!\bdr)(?<!\bmr)(?<!\bms)(?<!\bst)(?<!\bmrs)(?<!\bprof)(?<!\b[a-z])"
"""What a full stop belongs to without ending anything."""
_BREAK = re.compile(
    rf"{_TITLE}\.(?=\s|$)|[!?;:\n。！？](?=\s|$)"
    # Looked for at the beginning of a run of blanks alone, else long ones would take their square.
    r"|(?<![,\s])[,\s]++(?:and|but|so|und|y|et|e|aber)\s+"
    r"(?=(?:i|i'm|my|you|ich|mein\w*|wohne|lebe|je|mon|me|mi|io|vivo|abito|please)\b)"
    r"|,\s+(?=(?:i|my|please|can|could|how|what|where|who|when)\b)",
    re.IGNORECASE,
)
_QUOTED = re.compile(
    r"\"[^\"\n]*\"?|“[^”\n]*”?|«[^»\n]*»?|„[^“”\n]*[“”]?|(?<!\w)‘(?:[^’\n]|’(?=\w))*(?:’|$)"
    r"|(?<!\w)'(?:[^'\n]|(?<=\w)'(?=\w))*'(?!\w)|```.*?(?:```|\Z)|`[^`\n]*`",
    re.DOTALL | re.MULTILINE,
)
"""What nobody closes goes on to the end of its line."""
_TAKEN_BACK = re.compile(
    r"\b(?:just|only|i'm|i am|was) (?:kidding|joking|teasing|testing)\b|\bjk\b|\bj/k\b|\bnot really\b"
    r"|\bi (?:made|was making) (?:that|it) up\b|\bi (?:lied|was lying)\b"
    r"|\b(?:that|this|it)(?:'s| is| was| isn't| wasn't| is not| was not| were) (?:all )?(?:a |not )?(?:joke|lie|true|wrong|untrue|false|nonsense)\b"
    r"|\b(?:no,? wait|scratch that|never ?mind|strike that|correction:? no)\b"
    r"|\bapril fool|^[ \t]*not!|[.!,]\s*+not!|\bas if!|\bor so (?:they|he|she|people|everybody|i'm|i am|it)\b"
    r"|^[^\w\n]*test(?:ing)?\b(?:\W+(?:testing|test|1|one|123)\b|\W*$)",
    re.IGNORECASE | re.MULTILINE,
)
"""Takes back what the message says, wherever it stands."""
_PLAYED = re.compile(
    r"\b(?:role-?play\w*|pretend\w*|imagine|make[- ]believe|hypothetical\w*|for (?:example|instance)|e\.g\.|fictional|fiction"
    r"|lyrics?|poem|novel|hero|heroine|protagonist|narrator|screenplay|dialogue|monologue|translat\w+|proofread\w*|paraphras\w+|rewrite|grammar|spell-?check\w*"
    r"|correct (?:this|the|my) (?:sentence|text|essay|letter)|sample|for (?:the|a|this) test|placeholder|template|dummy|test data|as if|act as"
    r"|write (?:me )?(?:a|an|the) \w+|(?:song|story|novel|book|movie|film|play|game|joke|character) (?:about|where|in which|that|goes|begins|starts|called)"
    r"|(?:is|was) my \w+ (?:speaking|writing|typing|talking)"
    r"|stell dir vor|angenommen|übersetze?|imaginez?|supposons|traduis\w*|imagina|supongamos|traduce|traduci)\b",
    re.IGNORECASE,
)
"""What follows is a text to work on, an example or a game, to the end of the message."""
_SUPPOSED = re.compile(
    r"^(?:if|when|whenever|unless|whether|in case|assuming|suppose|supposing|say|let's say|let us say|what if|once|until|as long as"
    r"|would|should|were|had|i wish|wish|hopefully|maybe|perhaps|possibly|probably|wenn|falls|si|se|als|quando|quand)\b"
    r"|\b(?:if|unless|wish|would|used to|no longer|any ?more)\b",
    re.IGNORECASE,
)
"""Makes its whole sentence say what might be or was, not what is."""
_SAID = re.compile(
    r"\b(?:said|says|say|saying|wrote|writes|write|told (?:me|you|him|her|us|them)|tells (?:me|you|him|her|us|them)|asked|claim(?:s|ed)?"
    r"|thinks?|thought|believes?|believed|sings?|sang|reads?|goes|answered|replied|shouted|whispered|called out|joked|jokes|quoted?"
    r"|sagte|sagt|schrieb|dit|a dit|dijo|dice|ha detto)(?: to (?:me|you|him|her|us|them))?[\s,]*(?:that|dass|que|che)?[\s,]*$",
    re.IGNORECASE,
)
"""Ends with the word by which somebody's speech begins."""
_OPENS_OWN = re.compile(
    r"(?:.*\b)?(?:note|remember|fyi|hi|hello|hey|update|correction|about me|about myself|one thing|ps|p\.s|also|by the way|intro"
    r"|introduction|info|background|two things|first|second|details|well|ok|okay|sorry|listen|look|dear \w+)(?: of all)?\s*",
    re.IGNORECASE,
)
"""May stand before a colon without making what follows somebody else's."""
_ASKS = re.compile(
    r"^(?:how|what|where|who|when|why|which|can|could|would|will|is|are|am|do|does|did|may|should|please|tell|show)\b",
    re.IGNORECASE,
)
_MAX_CHARS = 4000
"""Read of a message: what somebody tells of themselves stands at its beginning, and patterns take their time."""
_NEW_SENTENCE = ".!?;\n。！？"


def own_words(shown: str) -> str:
    """Return what a message says in the person's own words: without quoted lines, tables and quotations."""
    lines = (line for line in shown[:_MAX_CHARS].splitlines() if not line.lstrip().startswith((">", "|")))
    return _QUOTED.sub(" … ", "\n".join(lines))


def clauses(shown: str) -> list[str]:
    """Return the clauses that state something, in their order, each on one line and without a greeting.

    Args:
        shown: a message, without characters that show nothing.
    """
    own = own_words(shown)
    if _TAKEN_BACK.search(own):
        return []
    found: list[str] = []
    sentence: list[str] = []
    is_lost = False
    for piece, end in _pieces(own):
        clause = _GREETING.sub("", _without_smileys(" ".join(piece.split())))
        if _PLAYED.search(piece):
            # The sentence itself is part of the play: "Let's pretend my name is Jack."
            return found
        is_said = bool(_SAID.search(clause))
        if end.startswith(":") and clause and (is_said or not _OPENS_OWN.fullmatch(clause)):
            return found
        is_lost = is_lost or bool(_SUPPOSED.search(clause))
        if clause and not is_lost and not end.startswith(":"):
            sentence.append(clause)
        is_lost = is_lost or is_said
        if not end or end[0] in _NEW_SENTENCE:
            found += _stated(sentence, end)
            sentence, is_lost = [], False
    return found


def _without_smileys(clause: str) -> str:
    while match := _SMILEY.search(clause, max(0, len(clause) - 3)):
        clause = clause[: match.start()].rstrip()
    return clause


def _pieces(own: str) -> list[tuple[str, str]]:
    """Split into clauses, each with what ended it; nothing at the end of the text."""
    pieces: list[tuple[str, str]] = []
    start = 0
    for end in _BREAK.finditer(own):
        pieces.append((own[start : end.start()], end.group()))
        start = end.end()
    pieces.append((own[start:], ""))
    return pieces


def _stated(sentence: list[str], end: str) -> list[str]:
    """Return what a sentence states: "My name is Bob, right?" asks, "I am a nurse, how do I ...?" states first."""
    if not end.startswith(("?", "？")):
        return sentence
    return sentence[:-1] if sentence and _ASKS.match(sentence[-1]) else []
