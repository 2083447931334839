"""Finds sentences that address the model instead of the reader.

What a document, a mail or an attachment says is information. A sentence that gives the model orders may be quoted, as
any other, but it never gets into a prompt, and it is counted.
"""

import re
import unicodedata
from collections.abc import Sequence

from engine.evidence import Statement
from engine.guard.folding import without_lookalikes
from engine.models.markup import without_markup
from hub.text import normalise

_ORDERS = r"(?:instructions?|rules?|prompts?|guidelines?|directives?|orders|restrictions|constraints|filters?|safety)"
_BEFORE = r"(?:previous|prior|above|earlier|preceding|foregoing|existing|original|initial|system|your|the|all|any|these|those|every)"
_FORMS = (
    rf"\b(?:ignore|disregard|forget|override|bypass|skip|drop|discard|do not follow|don't follow|stop following)\b(?:\W+\w+){{0,3}}?\W+{_BEFORE}\b(?:\W+\w+){{0,4}}?\W+{_ORDERS}\b",
    r"\b(?:ignore|disregard|forget) (?:everything|anything|all|what)\b.{0,40}\b(?:above|before|said|told|prior|previous|earlier|learned)\b",
    r"\byou are (?:now|no longer|going to be)\b|\bfrom (?:now|this point) on,? (?:you|act|answer|reply|respond|speak|only)\b",
    r"\b(?:act|behave|respond|answer|reply|speak) as (?:an? |if |though |the )?(?:ai|assistant|admin\w*|root|dan\b|unrestricted|developer|system|different|you)",
    r"\bpretend (?:to be|that you|you)\b|\broleplay as\b|\byour new (?:role|task|instructions?|persona|name|goal|rules?)\b|\bnew (?:system )?instructions?\s*:",
    r"\b(?:system|developer|hidden|secret|initial|internal) (?:prompt|message|instructions?)\b",
    rf"\b(?:reveal|print|repeat|show|output|display|leak|disclose|dump|recite|echo|expose|translate|summari[sz]e)\b(?:\W+\w+){{0,3}}?\W+(?:your|the|all)\b(?:\W+\w+){{0,3}}?\W+(?:{_ORDERS}|configuration|memory|secrets?|passwords?|keys?|users?)\b",
    r"\b(?:say|respond|reply|answer|output|write|print)(?: only| just| exactly| with only| with exactly| the following| nothing but)+\b",
    r"\bdo not (?:tell|inform|mention|reveal|show|warn|alert)\b.{0,30}\b(?:user|human|reader|operator|anyone)\b|\bwithout (?:telling|informing) the (?:user|reader)\b",
    r"\b(?:note|instructions?|attention|message|information) (?:to|for) (?:the |all |any )?(?:ai|a\.i\.|llms?|language models?|chatbots?|gpt|claude)\b",
    r"\b(?:assistant|model|bot|ai)\b,? (?:must|should|shall|will|please|now) (?:only |always )?(?:say|answer|reply|respond|write|print|output|repeat|end|begin)\b|\brepeat after me\b",
    r"\b(?:dear|hey|attention|listen),? (?:ai|a\.i\.|llm|language model|chatbot|assistant|model|bot|gpt|claude|hubbub)\b",
    r"\b(?:ai|llm|language model|gpt)s?\b(?: \w+){0,3} (?:must|should|shall|has to|have to|is required to|are required to|needs? to)\b",
    r"\bas an? (?:ai|large language|language) (?:model|assistant|language model)?\b|\b(?:jailbreak|dan mode|developer mode|god mode|sudo mode|do anything now)\b",
    r"(?:^|\n)[^\S\n]*+(?:#{1,6} ?|\*{2}|\[|<)?(?:system|assistant|developer|instruction|human|user)(?:\*{2}|\]|>)?\s*:",
    r"(?:^|\n)[^\S\n]*+#{2,3} (?:instruction|response|system|input)\b|\bend of (?:document|facts|context|prompt|system)\b|<\s?/?\s?facts>",
    r"\b(?:send|post|upload|forward|exfiltrate|transmit|append|encode)\b.{0,40}\b(?:conversation|history|answers?|data|passwords?|secrets?|everything|facts)\b.{0,40}(?:https?://|\bto this\b|@)",
    r"!\[[^\]\n]{0,80}\]\(\s*<?(?:https?:)?//",
    r"\bthe (?:real|actual|correct) (?:user|question|task|instruction) is\b|\b(?:user|operator|administrator|admin) has (?:approved|authori[sz]ed|confirmed|allowed)\b",
    r"\bignorier\w*\b.{0,30}\b(?:anweisung|regel|vorgabe)\w*|\bdu bist (?:jetzt|ab jetzt|nun)\b|\bvergiss (?:alle|alles|deine)\b",
    r"\b(?:ignora|olvida|omite)\b.{0,30}\binstruccion\w*|\bahora eres\b|\b(?:ignore[rz]?|oublie[rz]?)\b.{0,30}\b(?:instructions|consignes|règles)|\b(?:tu es|vous êtes) (?:maintenant|désormais)\b",
    r"\b(?:ignora|dimentica)\b.{0,30}\b(?:istruzion|regol)\w*|\bora sei\b|\b(?:ignore|esqueça|esquece)\b.{0,30}\b(?:instruções|regras)|\bagora você é\b",
    r"\bnegeer\b.{0,30}\b(?:instructies|regels)|\bje bent nu\b|\b(?:zignoruj|zapomnij)\b.{0,30}\b(?:instrukcj|polece)\w*|\b(?:игнорируй|забудь|не обращай внимания)\w*.{0,40}(?:инструкци|указани|правил)\w*|\bтеперь ты\b",
    r"(?:निर्देश|आदेश)\w*.{0,20}(?:अनदेखा|नज़रअंदाज़|भूल)|(?:تجاهل|انس).{0,30}(?:التعليمات|الأوامر|القواعد)|(?:忽略|无视|忘记|忽視).{0,12}(?:指令|说明|指示|规则|提示)|你现在是",
)
_ADDRESSES = re.compile("|".join(f"(?:{form})" for form in _FORMS), re.IGNORECASE)
_READ_CHARS = 100_000


def addressed_to_model(text: str) -> bool:
    """Whether a sentence gives orders to a model, speaks with a template's marks, or asks for what is behind it."""
    return count_addressed(text) > 0


def count_addressed(text: str) -> int:
    """Count the places of a text that address the model."""
    # Letters of full width and invisible ones between others are read by a model like plain ones.
    text = unicodedata.normalize("NFKC", normalise(text[:_READ_CHARS]))
    return sum(1 for _ in _ADDRESSES.finditer(_read(text))) + (without_markup(text) != text)


def _read(text: str) -> str:
    return text if text.isascii() else without_lookalikes(text.lower())


def for_the_model(statements: Sequence[Statement]) -> list[Statement]:
    """Leave out what must not get into a prompt."""
    return [statement for statement in statements if not addressed_to_model(statement.plain)]
