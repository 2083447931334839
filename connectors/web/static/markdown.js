// Markdown to DOM nodes. What a model says is untrusted: text enters the page as text nodes only, every element
// and attribute is chosen here, links go to http, https and mailto alone, and images are never loaded.
// Every step looks ahead a bounded distance, so the time grows with the length of the text and not faster.

const MARKDOWN_LIMIT = 40000;
const MAX_DEPTH = 5;
const MAX_ELEMENTS = 600;
const ESCAPABLE = "\\`*_{}[]()#+-.!~>|<";
const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]{0,30})/;
const HEADING = /^ {0,3}#{1,6}\s+(.*)$/;
const RULE = /^ {0,3}(?:-\s*){3,}$|^ {0,3}(?:\*\s*){3,}$|^ {0,3}(?:_\s*){3,}$/;
const QUOTE = /^ {0,3}>\s?/;
const ITEM = /^(\s{0,12})([-*+•]|\d{1,9}[.)])\s+(.*)$/;

function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

function safeUrl(text) {
  try {
    const url = new URL(text);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function link(label, address) {
  const href = safeUrl(address);
  if (href === null) return h("span", {}, label);
  return h("a", { href, title: href, target: "_blank", rel: "noopener nofollow ugc" }, label);
}

// `cite(number)` returns the node for "[1]", or null when there is no such source.
function renderMarkdown(text, cite = () => null) {
  if (text.length > MARKDOWN_LIMIT) return h("p", { class: "plain" }, text);
  return renderBlocks(text.split("\n"), { cite, left: MAX_ELEMENTS }, 0);
}

function renderBlocks(lines, context, depth) {
  const out = document.createDocumentFragment();
  for (let at = 0; at < lines.length; ) {
    const line = lines[at];
    context.left -= 1;
    if (depth > MAX_DEPTH || context.left < 0) {
      out.append(h("p", { class: "plain" }, lines.slice(at).join("\n")));
      break;
    }
    if (!line.trim()) at += 1;
    else if (FENCE.test(line)) at = takeCode(lines, at, out, context);
    else if (RULE.test(line)) {
      out.append(h("hr"));
      at += 1;
    } else if (HEADING.test(line)) {
      out.append(h("p", { class: "heading" }, h("strong", {}, renderInline(HEADING.exec(line)[1], context))));
      at += 1;
    } else if (QUOTE.test(line)) at = takeQuote(lines, at, out, context, depth);
    else if (ITEM.test(line)) at = takeList(lines, at, out, context, depth);
    else at = takeParagraph(lines, at, out, context);
  }
  return out;
}

function takeCode(lines, start, out, context) {
  context.left -= 8; // frame, head and button
  const [, fence, language] = FENCE.exec(lines[start]);
  let end = start + 1;
  while (end < lines.length && !lines[end].trimStart().startsWith(fence)) end += 1;
  const code = lines.slice(start + 1, end).join("\n");
  out.append(
    h(
      "div",
      { class: "code" },
      h("div", { class: "code-head" }, h("span", {}, language || "text"), copyButton(() => code, say("copyCode"))),
      h("pre", { tabindex: "0" }, h("code", {}, code)),
    ),
  );
  return end + 1;
}

function takeQuote(lines, start, out, context, depth) {
  let end = start;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  const inner = lines.slice(start, end).map((line) => line.replace(QUOTE, ""));
  out.append(h("blockquote", {}, renderBlocks(inner, context, depth + 1)));
  return end;
}

function takeList(lines, start, out, context, depth) {
  const [, indent, marker] = ITEM.exec(lines[start]);
  const ordered = /\d/.test(marker);
  const list = h(ordered ? "ol" : "ul");
  if (ordered) list.start = parseInt(marker, 10);
  const belongs = (line) => {
    const item = line === undefined ? null : ITEM.exec(line);
    return item && item[1].length <= indent.length + 1 && /\d/.test(item[2]) === ordered ? item : null;
  };
  const isDeeper = (line) => line.search(/\S/) > indent.length + 1;
  let at = start;
  for (let item = belongs(lines[at]); item && context.left > 0; item = belongs(lines[at])) {
    const body = [item[3]];
    context.left -= 1;
    for (at += 1; at < lines.length; at += 1) {
      const line = lines[at];
      if (!line.trim()) {
        if (lines[at + 1] === undefined || !isDeeper(lines[at + 1])) break;
      } else if (!isDeeper(line) && startsBlock(line)) break;
      body.push(line.slice(Math.min(Math.max(line.search(/\S/), 0), indent.length + 2)));
    }
    list.append(h("li", {}, renderBlocks(body, context, depth + 1)));
    if (lines[at] !== undefined && !lines[at].trim() && belongs(lines[at + 1])) at += 1;
  }
  out.append(list);
  return at;
}

function startsBlock(line) {
  return FENCE.test(line) || HEADING.test(line) || QUOTE.test(line) || ITEM.test(line) || RULE.test(line);
}

function takeParagraph(lines, start, out, context) {
  let end = start + 1;
  while (end < lines.length && lines[end].trim() && !startsBlock(lines[end])) end += 1;
  out.append(h("p", {}, renderInline(lines.slice(start, end).join("\n").trim(), context)));
  return end;
}

function renderInline(text, context, depth = 0) {
  const out = document.createDocumentFragment();
  const absent = new Set(); // delimiters that do not come again, so that nobody looks for them twice
  let plain = "";
  const put = (node) => {
    if (plain) out.append(plain);
    plain = "";
    out.append(node);
  };
  for (let at = 0; at < text.length; ) {
    const found = depth < MAX_DEPTH && context.left > 0 ? inlineAt(text, at, context, depth, absent) : null;
    if (found === null) {
      plain += text[at];
      at += 1;
    } else {
      if (typeof found.node === "string") plain += found.node;
      else {
        context.left -= 1;
        put(found.node);
      }
      at = found.end;
    }
  }
  if (plain) out.append(plain);
  return out;
}

function inlineAt(text, at, context, depth, absent) {
  switch (text[at]) {
    case "\n":
      return { node: h("br"), end: at + 1 };
    case "\\":
      return at + 1 < text.length && ESCAPABLE.includes(text[at + 1]) ? { node: text[at + 1], end: at + 2 } : null;
    case "`":
      return codeAt(text, at, absent);
    case "*":
    case "_":
    case "~":
      return emphasisAt(text, at, context, depth, absent);
    case "!":
      return imageAt(text, at);
    case "[":
      return bracketAt(text, at, context, depth);
    case "<":
    case "h":
      return addressAt(text, at);
    default:
      return null;
  }
}

function matchAt(pattern, text, at) {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

function codeAt(text, at, absent) {
  const ticks = matchAt(/`{1,8}/y, text, at)[0];
  if (absent.has(ticks)) return { node: ticks, end: at + ticks.length };
  const end = text.indexOf(ticks, at + ticks.length);
  if (end < 0) {
    absent.add(ticks);
    return { node: ticks, end: at + ticks.length };
  }
  return { node: h("code", {}, text.slice(at + ticks.length, end)), end: end + ticks.length };
}

const EMPHASIS = { "**": "strong", __: "strong", "~~": "s", "*": "em", _: "em" };

function emphasisAt(text, at, context, depth, absent) {
  const double = text.slice(at, at + 2);
  const mark = EMPHASIS[double] ? double : text[at];
  const start = at + mark.length;
  const asText = { node: mark, end: start };
  const isWord = (character) => character !== undefined && /[\p{L}\p{N}]/u.test(character);
  if (!EMPHASIS[mark] || absent.has(mark) || !/\S/.test(text[start] ?? " ")) return asText;
  if (mark[0] === "_" && isWord(text[at - 1])) return asText;
  let end = start;
  for (let tries = 0; tries < 8; tries += 1) {
    end = text.indexOf(mark, end + 1);
    if (end < 0) {
      absent.add(mark);
      return asText;
    }
    const isPartOfDouble = mark.length === 1 && (text[end + 1] === mark || text[end - 1] === mark);
    const isInsideWord = mark[0] === "_" && isWord(text[end + mark.length]);
    if (/\S/.test(text[end - 1]) && !isPartOfDouble && !isInsideWord) {
      const inner = renderInline(text.slice(start, end), context, depth + 1);
      return { node: h(EMPHASIS[mark], {}, inner), end: end + mark.length };
    }
    if (isPartOfDouble) end += 1;
  }
  return asText;
}

const LINK = /\[([^[\]\n]{1,500})\]\(\s{0,4}<?([^()<>\s]{1,2000}(?:\([^()<>\s]{0,200}\)[^()<>\s]{0,200})?)>?(?:\s{1,4}"[^"\n]{0,200}")?\s{0,4}\)/y;
const IMAGE = /!\[([^[\]\n]{0,500})\]\([^()\n]{0,2000}\)/y;
const CITATION = /\[(\d{1,2})\](?!\()/y;
const ADDRESS = /<(https?:\/\/[^\s<>]{1,2000})>|https?:\/\/[^\s<>"'`[\]]{1,2000}/y;

function imageAt(text, at) {
  const match = matchAt(IMAGE, text, at);
  return match && { node: match[1] || `(${say("image")})`, end: at + match[0].length };
}

function bracketAt(text, at, context, depth) {
  const citation = matchAt(CITATION, text, at);
  const node = citation && context.cite(Number(citation[1]));
  if (node) return { node, end: at + citation[0].length };
  const match = matchAt(LINK, text, at);
  return match && { node: link(renderInline(match[1], context, depth + 1), match[2]), end: at + match[0].length };
}

function addressAt(text, at) {
  if (text[at] === "h" && (!text.startsWith("http", at) || /\w/.test(text[at - 1] ?? " "))) return null;
  const match = matchAt(ADDRESS, text, at);
  if (!match) return null;
  if (match[1]) return { node: link(match[1], match[1]), end: at + match[0].length };
  let address = match[0];
  while (/[.,;:!?*_~]/.test(address.at(-1)) || (address.endsWith(")") && !address.includes("("))) {
    address = address.slice(0, -1);
  }
  return { node: link(address, address), end: at + address.length };
}

function copyButton(read, label) {
  const button = h("button", { type: "button", class: "copy", "aria-label": label, title: label }, icon("copy"));
  button.addEventListener("click", async () => {
    if (!(await copyText(read(), button))) return;
    button.replaceChildren(icon("check"));
    setTimeout(() => button.replaceChildren(icon("copy")), 1500);
  });
  return button;
}

async function copyText(text, near) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages without https have no clipboard interface; the old way still works there.
    const field = h("textarea", { class: "hidden", "aria-hidden": "true" });
    field.value = text;
    near.after(field);
    field.select();
    const isCopied = document.execCommand("copy");
    field.remove();
    near.focus();
    return isCopied;
  }
}
