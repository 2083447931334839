"""What the hub itself says in a mail, in the languages it knows; the answer between is the engine's."""

from dataclasses import dataclass

STOP = "STOP"
START = "START"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrases:
    """The sentences of one language; the words STOP and START are the same in all of them."""

    hello: str
    hello_name: str
    sources: str
    wrote: str
    """Above the quoted mail."""
    wrote_at: str
    your_message: str
    """Subject of a reply to a mail without one."""
    footer: str
    how_to_stop: str
    stopped: str
    started: str
    digest: str
    """Above the subjects of the mails that got no answer."""
    encrypted: str


PHRASES: dict[str, Phrases] = {
    "en": Phrases(
        hello="Hello,",
        hello_name="Hello {name},",
        sources="Sources",
        wrote="You wrote:",
        wrote_at="On {date}, you wrote:",
        your_message="your message",
        footer="{name} is an automatic assistant. Reply to this mail to go on.",
        how_to_stop="Reply with the word STOP to get no more answers.",
        stopped="You asked for no more answers, so you get none from now on. Write START to get answers again.",
        started="You get answers again.",
        digest="More mails came from you than I answer in a short time, so these {count} got no answer. Please send what"
        " is still open again later, best in one mail.",
        encrypted="Your mail is encrypted, and I cannot read encrypted mail. Please write again without encryption.",
    ),
    "de": Phrases(
        hello="Guten Tag,",
        hello_name="Guten Tag {name},",
        sources="Quellen",
        wrote="Sie schrieben:",
        wrote_at="Am {date} schrieben Sie:",
        your_message="Ihre Nachricht",
        footer="{name} ist ein automatischer Assistent. Antworten Sie auf diese Mail, um fortzufahren.",
        how_to_stop="Antworten Sie mit dem Wort STOP, um keine Antworten mehr zu bekommen.",
        stopped="Sie möchten keine Antworten mehr und bekommen ab jetzt keine. Schreiben Sie START, um wieder Antworten zu"
        " bekommen.",
        started="Sie bekommen wieder Antworten.",
        digest="Von Ihnen kamen mehr Mails, als ich in kurzer Zeit beantworte. Diese {count} blieben ohne Antwort. Bitte"
        " senden Sie, was noch offen ist, später noch einmal, am besten in einer Mail.",
        encrypted="Ihre Mail ist verschlüsselt, und verschlüsselte Mail kann ich nicht lesen. Bitte schreiben Sie noch einmal"
        " ohne Verschlüsselung.",
    ),
    "es": Phrases(
        hello="Hola:",
        hello_name="Hola, {name}:",
        sources="Fuentes",
        wrote="Usted escribió:",
        wrote_at="El {date}, usted escribió:",
        your_message="su mensaje",
        footer="{name} es un asistente automático. Responda a este correo para continuar.",
        how_to_stop="Responda con la palabra STOP para no recibir más respuestas.",
        stopped="Ha pedido no recibir más respuestas y ya no las recibirá. Escriba START para volver a recibirlas.",
        started="Vuelve a recibir respuestas.",
        digest="Han llegado de usted más correos de los que respondo en poco tiempo. Estos {count} quedaron sin respuesta."
        " Envíe más tarde lo que siga pendiente, mejor en un solo correo.",
        encrypted="Su correo está cifrado y no puedo leer correo cifrado. Escriba de nuevo sin cifrarlo, por favor.",
    ),
    "fr": Phrases(
        hello="Bonjour,",
        hello_name="Bonjour {name},",
        sources="Sources",
        wrote="Vous avez écrit :",
        wrote_at="Le {date}, vous avez écrit :",
        your_message="votre message",
        footer="{name} est un assistant automatique. Répondez à ce message pour continuer.",
        how_to_stop="Répondez avec le mot STOP pour ne plus recevoir de réponses.",
        stopped="Vous ne souhaitez plus de réponses et n'en recevrez plus. Écrivez START pour en recevoir à nouveau.",
        started="Vous recevez à nouveau des réponses.",
        digest="Il est arrivé de vous plus de messages que je n'en traite en peu de temps. Ces {count} sont restés sans"
        " réponse. Renvoyez plus tard ce qui reste ouvert, de préférence en un seul message.",
        encrypted="Votre message est chiffré et je ne peux pas lire les messages chiffrés. Écrivez à nouveau sans"
        " chiffrement, s'il vous plaît.",
    ),
    "it": Phrases(
        hello="Buongiorno,",
        hello_name="Buongiorno {name},",
        sources="Fonti",
        wrote="Lei ha scritto:",
        wrote_at="Il {date} lei ha scritto:",
        your_message="il suo messaggio",
        footer="{name} è un assistente automatico. Risponda a questa e-mail per continuare.",
        how_to_stop="Risponda con la parola STOP per non ricevere più risposte.",
        stopped="Ha chiesto di non ricevere più risposte e non ne riceverà più. Scriva START per riceverne di nuovo.",
        started="Riceve di nuovo risposte.",
        digest="Da lei sono arrivate più e-mail di quante ne possa evadere in poco tempo. Queste {count} sono rimaste senza"
        " risposta. Invii più tardi ciò che resta aperto, meglio in un'unica e-mail.",
        encrypted="La sua e-mail è cifrata e non posso leggere e-mail cifrate. Scriva di nuovo senza cifratura, per favore.",
    ),
    "pt": Phrases(
        hello="Olá,",
        hello_name="Olá, {name},",
        sources="Fontes",
        wrote="Você escreveu:",
        wrote_at="Em {date}, você escreveu:",
        your_message="sua mensagem",
        footer="{name} é um assistente automático. Responda a este e-mail para continuar.",
        how_to_stop="Responda com a palavra STOP para não receber mais respostas.",
        stopped="Você pediu para não receber mais respostas e não receberá mais. Escreva START para voltar a recebê-las.",
        started="Você volta a receber respostas.",
        digest="Chegaram de você mais e-mails do que respondo em pouco tempo. Estes {count} ficaram sem resposta. Envie mais"
        " tarde o que ainda estiver em aberto, de preferência em um só e-mail.",
        encrypted="Seu e-mail está criptografado e não consigo ler e-mails criptografados. Escreva de novo sem criptografia,"
        " por favor.",
    ),
    "nl": Phrases(
        hello="Goedendag,",
        hello_name="Goedendag {name},",
        sources="Bronnen",
        wrote="U schreef:",
        wrote_at="Op {date} schreef u:",
        your_message="uw bericht",
        footer="{name} is een automatische assistent. Beantwoord deze e-mail om verder te gaan.",
        how_to_stop="Antwoord met het woord STOP om geen antwoorden meer te krijgen.",
        stopped="U wilt geen antwoorden meer en krijgt ze vanaf nu niet. Schrijf START om weer antwoorden te krijgen.",
        started="U krijgt weer antwoorden.",
        digest="Er kwamen meer e-mails van u dan ik in korte tijd beantwoord. Deze {count} bleven zonder antwoord. Stuur wat"
        " nog open is later opnieuw, het liefst in één e-mail.",
        encrypted="Uw e-mail is versleuteld en versleutelde e-mail kan ik niet lezen. Schrijf opnieuw zonder versleuteling.",
    ),
    "pl": Phrases(
        hello="Dzień dobry,",
        hello_name="Dzień dobry {name},",
        sources="Źródła",
        wrote="Twoja wiadomość:",
        wrote_at="Twoja wiadomość z {date}:",
        your_message="Twoja wiadomość",
        footer="{name} to automatyczny asystent. Odpowiedz na tę wiadomość, aby kontynuować.",
        how_to_stop="Odpowiedz słowem STOP, aby nie otrzymywać więcej odpowiedzi.",
        stopped="Nie chcesz więcej odpowiedzi i nie będziesz ich otrzymywać. Napisz START, aby znów je otrzymywać.",
        started="Znów otrzymujesz odpowiedzi.",
        digest="Przyszło od Ciebie więcej wiadomości, niż odpowiadam w krótkim czasie. Bez odpowiedzi pozostały: {count}."
        " Wyślij później ponownie to, co jest jeszcze otwarte, najlepiej w jednej wiadomości.",
        encrypted="Twoja wiadomość jest zaszyfrowana, a takich wiadomości nie potrafię odczytać. Napisz ponownie bez"
        " szyfrowania.",
    ),
    "ru": Phrases(
        hello="Здравствуйте!",
        hello_name="Здравствуйте, {name}!",
        sources="Источники",
        wrote="Вы писали:",
        wrote_at="{date} вы писали:",
        your_message="ваше сообщение",
        footer="{name} — автоматический помощник. Ответьте на это письмо, чтобы продолжить.",
        how_to_stop="Ответьте словом STOP, чтобы больше не получать ответов.",
        stopped="Вы попросили больше не отвечать, и ответов больше не будет. Напишите START, чтобы снова получать ответы.",
        started="Вы снова получаете ответы.",
        digest="От вас пришло больше писем, чем я отвечаю за короткое время. Без ответа остались: {count}. Пришлите позже то,"
        " что ещё не решено, лучше одним письмом.",
        encrypted="Ваше письмо зашифровано, а такие письма я прочитать не могу. Напишите, пожалуйста, без шифрования.",
    ),
    "hi": Phrases(
        hello="नमस्ते,",
        hello_name="नमस्ते {name},",
        sources="स्रोत",
        wrote="आपने लिखा:",
        wrote_at="{date} को आपने लिखा:",
        your_message="आपका संदेश",
        footer="{name} एक स्वचालित सहायक है। आगे बढ़ने के लिए इस ईमेल का उत्तर दें।",
        how_to_stop="और उत्तर न पाने के लिए STOP शब्द लिखकर उत्तर दें।",
        stopped="आपने और उत्तर न भेजने को कहा है, इसलिए अब उत्तर नहीं आएँगे। फिर से उत्तर पाने के लिए START लिखें।",
        started="आपको फिर से उत्तर मिलेंगे।",
        digest="आपसे थोड़े समय में मेरे उत्तर देने की सीमा से अधिक ईमेल आए। इन {count} का उत्तर नहीं दिया गया। जो बाकी है उसे बाद में"
        " फिर भेजें, हो सके तो एक ही ईमेल में।",
        encrypted="आपका ईमेल एन्क्रिप्टेड है और मैं ऐसे ईमेल नहीं पढ़ सकता। कृपया बिना एन्क्रिप्शन के फिर लिखें।",
    ),
    "ar": Phrases(
        hello="مرحبًا،",
        hello_name="مرحبًا {name}،",
        sources="المصادر",
        wrote="كتبتَ:",
        wrote_at="في {date} كتبتَ:",
        your_message="رسالتك",
        footer="{name} مساعد آلي. للمتابعة أجب عن هذه الرسالة.",
        how_to_stop="أجب بكلمة STOP كي لا تصلك ردود أخرى.",
        stopped="طلبتَ عدم إرسال ردود أخرى، ولن تصلك ردود بعد الآن. اكتب START لتصلك الردود من جديد.",
        started="ستصلك الردود من جديد.",
        digest="وصل منك في وقت قصير عدد من الرسائل أكبر مما أجيب عنه، وبقيت دون رد: {count}. أرسل لاحقًا ما بقي مفتوحًا، ويفضل في"
        " رسالة واحدة.",
        encrypted="رسالتك مشفرة ولا يمكنني قراءة الرسائل المشفرة. اكتب من جديد دون تشفير من فضلك.",
    ),
    "zh": Phrases(
        hello="您好！",
        hello_name="{name}，您好！",
        sources="来源",
        wrote="您写道：",
        wrote_at="您于 {date} 写道：",
        your_message="您的来信",
        footer="{name} 是自动助手。如需继续，请直接回复此邮件。",
        how_to_stop="如不想再收到回复，请回信写 STOP。",
        stopped="您要求不再收到回复，从现在起不会再有回复。如需恢复，请写 START。",
        started="您将重新收到回复。",
        digest="您在短时间内发来的邮件超过了我能回复的数量，以下 {count} 封没有得到回复。请稍后把仍未解决的问题再发一次，最好写在一封邮件里。",
        encrypted="您的邮件已加密，我无法阅读加密邮件。请不加密后再发一次。",
    ),
}

RIGHT_TO_LEFT = frozenset({"ar"})


def speaks_as_the_hub(text: str) -> bool:
    """Tell whether a text begins and ends as every reply of a hub does."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for says in PHRASES.values():
        if lines and lines[-1] == says.how_to_stop:
            begin, _, end = says.hello_name.partition("{name}")
            return lines[0] == says.hello or (lines[0].startswith(begin) and lines[0].endswith(end))
    return False


def known(language: str) -> str:
    """Return the key of PHRASES for a BCP 47 tag; English where the language is none of those."""
    primary = language.partition("-")[0].lower()
    return primary if primary in PHRASES else "en"
