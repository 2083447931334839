"""What the connector itself says to people, in the languages of their Telegram."""

from dataclasses import dataclass

FALLBACK = "en"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrases:
    """All words of one language."""

    text_only: str
    """To a picture, a voice message or the like without a caption."""
    please_wait: str
    """To a message that found its conversation full."""
    waiting: str
    """While others come first; with `{seconds}`."""
    soon: str
    sources: str
    """Label of a button, and heading of a list."""
    thanks: str
    """To who has judged an answer."""
    too_old: str
    """To who presses a button that means nothing any more."""
    model_asked_for: str
    """To who has chosen a model; with `{name}`."""


WORDS = {
    "en": Phrases(
        text_only="Sorry, I can only read text and documents. Please write your question as text.",
        please_wait="Please wait: I am still busy with your earlier messages and could not take this one.",
        waiting="About {seconds} s until it is your turn…",
        soon="It is your turn in a moment…",
        sources="Sources",
        thanks="Thank you!",
        too_old="This button does not work any more.",
        model_asked_for="Model: {name}",
    ),
    "de": Phrases(
        text_only="Ich kann leider nur Text und Dokumente lesen. Bitte schreiben Sie Ihre Frage als Text.",
        please_wait="Bitte warten Sie: Ich bin noch mit Ihren früheren Nachrichten beschäftigt und konnte diese nicht annehmen.",
        waiting="Noch etwa {seconds} s, bis Sie an der Reihe sind …",
        soon="Sie sind gleich an der Reihe …",
        sources="Quellen",
        thanks="Vielen Dank!",
        too_old="Diese Schaltfläche gilt nicht mehr.",
        model_asked_for="Modell: {name}",
    ),
    "es": Phrases(
        text_only="Lo siento, solo puedo leer texto y documentos. Escriba su pregunta como texto, por favor.",
        please_wait="Espere, por favor: aún estoy con sus mensajes anteriores y no he podido aceptar este.",
        waiting="Faltan unos {seconds} s para su turno…",
        soon="Es su turno en un momento…",
        sources="Fuentes",
        thanks="¡Gracias!",
        too_old="Este botón ya no funciona.",
        model_asked_for="Modelo: {name}",
    ),
    "fr": Phrases(
        text_only="Désolé, je ne peux lire que du texte et des documents. Écrivez votre question sous forme de texte.",
        please_wait="Veuillez patienter : je traite encore vos messages précédents et n'ai pas pu prendre celui-ci.",
        waiting="Environ {seconds} s avant votre tour…",
        soon="C'est à vous dans un instant…",
        sources="Sources",
        thanks="Merci !",
        too_old="Ce bouton ne fonctionne plus.",
        model_asked_for="Modèle : {name}",
    ),
    "it": Phrases(
        text_only="Mi dispiace, posso leggere solo testo e documenti. Scriva la domanda come testo.",
        please_wait="Attenda, per favore: sto ancora lavorando ai suoi messaggi precedenti e non ho potuto accettare questo.",
        waiting="Circa {seconds} s al suo turno…",
        soon="Tra un attimo tocca a lei…",
        sources="Fonti",
        thanks="Grazie!",
        too_old="Questo pulsante non funziona più.",
        model_asked_for="Modello: {name}",
    ),
    "pt": Phrases(
        text_only="Desculpe, só consigo ler texto e documentos. Escreva a sua pergunta como texto.",
        please_wait="Aguarde, por favor: ainda estou com as suas mensagens anteriores e não pude aceitar esta.",
        waiting="Cerca de {seconds} s até à sua vez…",
        soon="É a sua vez dentro de momentos…",
        sources="Fontes",
        thanks="Obrigado!",
        too_old="Este botão já não funciona.",
        model_asked_for="Modelo: {name}",
    ),
    "nl": Phrases(
        text_only="Sorry, ik kan alleen tekst en documenten lezen. Schrijf uw vraag als tekst.",
        please_wait="Even geduld: ik ben nog bezig met uw eerdere berichten en kon dit bericht niet aannemen.",
        waiting="Nog ongeveer {seconds} s tot u aan de beurt bent…",
        soon="U bent zo aan de beurt…",
        sources="Bronnen",
        thanks="Bedankt!",
        too_old="Deze knop werkt niet meer.",
        model_asked_for="Model: {name}",
    ),
    "pl": Phrases(
        text_only="Przepraszam, umiem czytać tylko tekst i dokumenty. Proszę napisać pytanie jako tekst.",
        please_wait="Proszę czekać: zajmuję się jeszcze wcześniejszymi wiadomościami i nie mogę przyjąć tej.",
        waiting="Jeszcze około {seconds} s do Twojej kolejki…",
        soon="Za chwilę Twoja kolej…",
        sources="Źródła",
        thanks="Dziękuję!",
        too_old="Ten przycisk już nie działa.",
        model_asked_for="Model: {name}",
    ),
    "ru": Phrases(
        text_only="Извините, я умею читать только текст и документы. Пожалуйста, напишите вопрос текстом.",
        please_wait="Пожалуйста, подождите: я ещё занят вашими предыдущими сообщениями и не могу принять это.",
        waiting="Примерно {seconds} с до вашей очереди…",
        soon="Сейчас ваша очередь…",
        sources="Источники",
        thanks="Спасибо!",
        too_old="Эта кнопка больше не работает.",
        model_asked_for="Модель: {name}",
    ),
    "hi": Phrases(
        text_only="माफ़ कीजिए, मैं केवल टेक्स्ट और दस्तावेज़ पढ़ सकता हूँ। कृपया अपना प्रश्न टेक्स्ट में लिखें।",
        please_wait="कृपया प्रतीक्षा करें: मैं अभी आपके पिछले संदेशों में व्यस्त हूँ और इसे नहीं ले सका।",
        waiting="आपकी बारी में लगभग {seconds} सेकंड…",
        soon="बस आपकी बारी आने वाली है…",
        sources="स्रोत",
        thanks="धन्यवाद!",
        too_old="यह बटन अब काम नहीं करता।",
        model_asked_for="मॉडल: {name}",
    ),
    "ar": Phrases(
        text_only="عذرًا، أستطيع قراءة النصوص والمستندات فقط. من فضلك اكتب سؤالك نصًا.",
        please_wait="من فضلك انتظر: ما زلت مشغولًا برسائلك السابقة ولم أستطع قبول هذه.",
        waiting="نحو {seconds} ثانية حتى يحين دورك…",
        soon="سيحين دورك بعد لحظات…",
        sources="المصادر",
        thanks="شكرًا!",
        too_old="لم يعد هذا الزر يعمل.",
        model_asked_for="النموذج: {name}",
    ),
    "zh": Phrases(
        text_only="抱歉，我只能阅读文字和文档。请用文字写下您的问题。",
        please_wait="请稍候：我还在处理您之前的消息，未能接收这一条。",
        waiting="大约还有 {seconds} 秒轮到您…",
        soon="马上就轮到您…",
        sources="来源",
        thanks="谢谢！",
        too_old="此按钮已失效。",
        model_asked_for="模型：{name}",
    ),
}
"""Words by the first part of a language tag."""


def phrases(language: str) -> Phrases:
    """Return the words for a language tag such as `pt-BR`; English where there are none."""
    return WORDS.get(language.partition("-")[0].lower(), WORDS[FALLBACK])
