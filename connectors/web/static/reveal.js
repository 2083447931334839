// Text comes in lumps, often a sentence at once. It is shown as if it were being written, and never far behind.

const LAG_MS = 700;
const SLOWEST = 0.06; // characters for each millisecond
const SPAN = /\[[^[\]\n]{1,80}\](?:\([^()\s]{1,600}\))?|(\*\*|__|~~|`)(?=\S)[^*_~`\n]{1,200}?\1/g;

// Move a cut forward so that it splits neither a character nor markup that would show as signs until it is whole.
function wholeEnd(text, end) {
  if (/[\uDC00-\uDFFF]/.test(text[end] ?? "")) end += 1;
  SPAN.lastIndex = Math.max(text.lastIndexOf("\n", end - 1) + 1, end - 800);
  for (let span = SPAN.exec(text); span && span.index < end; span = SPAN.exec(text)) {
    end = Math.max(end, span.index + span[0].length);
  }
  return end;
}

class Reveal {
  constructor() {
    this.text = "";
    this.shown = 0;
    this.due = []; // { end, by }: text up to `end` has to be there at the time `by`
    this.at = 0;
  }

  get isWhole() {
    return this.shown >= this.text.length;
  }

  // `text`: all that is known by now. What was shown of another text is replaced in place.
  take(text, { atOnce }) {
    const now = performance.now();
    if (this.isWhole) this.at = now;
    if (text !== this.text) {
      if (!text.startsWith(this.text)) this.due = [];
      this.due.push({ end: text.length, by: now + LAG_MS });
      this.text = text;
    }
    this.shown = atOnce ? text.length : Math.min(this.shown, text.length);
  }

  // What is to be seen now. The more waits, the faster it goes on.
  next() {
    const now = performance.now();
    this.due = this.due.filter(({ end }) => end > this.shown);
    const paces = this.due.map(({ end, by }) => (end - this.shown) / Math.max(by - this.at, 1));
    this.shown = Math.min(this.shown + (now - this.at) * Math.max(SLOWEST, ...paces), this.text.length);
    this.at = now;
    return this.isWhole ? this.text : this.text.slice(0, wholeEnd(this.text, Math.ceil(this.shown)));
  }
}
