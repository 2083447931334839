"""In which language a mail is greeted: the one it is written in, else English."""

import string

import pytest

from connectors.email.languages import language_of, language_of_mail
from connectors.email.mail import ParsedMail
from connectors.email.phrases import PHRASES, known


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How do I connect a mailbox to the hub?", "en"),
        ("Which port does it use?", "en"),
        ("Wie verbinde ich ein Postfach mit dem Hub?", "de"),
        ("Hallo, was kostet das und geht es auch ohne Internet?", "de"),
        ("¿Cómo puedo conectar un buzón con el sistema?", "es"),
        ("Hola, ¿qué puerto usa por defecto? Gracias", "es"),
        ("Comment est-ce que je peux connecter une boîte aux lettres ?", "fr"),
        ("Bonjour, quel est le port par défaut ? Merci", "fr"),
        ("Come posso collegare una casella di posta? Grazie", "it"),
        ("Buongiorno, quale porta usa il sistema e dove si cambia?", "it"),
        ("Como posso conectar uma caixa de correio? Obrigado", "pt"),
        ("Olá, você pode dizer onde está a configuração? Não encontro", "pt"),
        ("Hoe kan ik een mailbox met de hub verbinden?", "nl"),
        ("Goedendag, welke poort gebruikt het systeem? Bedankt", "nl"),
        ("Jak mogę podłączyć skrzynkę pocztową? Dziękuję", "pl"),
        ("Dzień dobry, gdzie jest konfiguracja? Nie mogę znaleźć", "pl"),
        ("Как подключить почтовый ящик?", "ru"),
        ("मैं अपना मेलबॉक्स कैसे जोड़ूँ?", "hi"),
        ("كيف أوصل صندوق البريد؟", "ar"),
        ("如何连接邮箱？", "zh"),
        ("请问 Hubbub 怎么连接 IMAP 邮箱？", "zh"),
        ("どうやってメールボックスを接続しますか？", ""),
        ("Як під'єднати поштову скриньку? Її немає", ""),
        ("چگونه صندوق پستی را وصل کنم؟", ""),
        ("IMAP SMTP TLS 993", ""),
        ("12345 :-)", ""),
        ("", ""),
    ],
)
def test_language_shows_in_the_text(text: str, expected: str) -> None:
    """By script or small words; what is no language we know, or none at all, is not guessed."""
    assert language_of(text) == expected


def test_word_alone_is_in_the_language_of_what_it_answers() -> None:
    """STOP is the same in all languages; the mail below it is not."""
    mail = ParsedMail(
        sender="jane@example.net",
        text="STOP",
        quoted="Antworten Sie mit dem Wort STOP, um keine zu bekommen.",
    )

    assert language_of_mail(mail) == "de"
    assert language_of_mail(mail.model_copy(update={"text": "Why did you write that to me?"})) == "en"


def test_long_text_costs_little() -> None:
    """Only the beginning is looked at."""
    assert language_of("the cat and the dog were there " * 100_000) == "en"


@pytest.mark.parametrize(
    ("tag", "expected"), [("de", "de"), ("de-AT", "de"), ("DE", "de"), ("zh-Hans-CN", "zh"), ("", "en"), ("xx", "en"), ("de\r\nBcc: x", "en")]
)  # fmt: skip
def test_language_tags_lead_to_phrases(tag: str, expected: str) -> None:
    """The primary language decides."""
    assert known(tag) == expected


@pytest.mark.parametrize("language", PHRASES)
def test_phrases_have_the_places_that_are_filled(language: str) -> None:
    """Each sentence takes what it is given and nothing else; the words to write are named."""
    says = PHRASES[language]
    places = {
        name: [field for _, field, _, _ in string.Formatter().parse(getattr(says, name)) if field]
        for name in says.__dataclass_fields__
    }
    filled = {name: fields for name, fields in places.items() if fields}

    assert filled == {
        "hello_name": ["name"], "wrote_at": ["date"], "footer": ["name"], "digest": ["count"]
    }  # fmt: skip
    assert "STOP" in says.how_to_stop
    assert "START" in says.stopped
    assert all(getattr(says, name).strip() for name in says.__dataclass_fields__)
