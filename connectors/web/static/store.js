// What the page remembers, and the sums and names that go over the wire.

// Storage of the browser where it allows that, else the memory of this page.
class Store {
  // `area`: localStorage, which all tabs share, or sessionStorage, which is this tab's alone.
  constructor(area, prefix) {
    this.area = area;
    this.prefix = prefix;
    this.memory = new Map();
  }

  get(name) {
    try {
      return JSON.parse(window[this.area].getItem(this.prefix + name) ?? "null");
    } catch {
      return this.memory.get(name) ?? null;
    }
  }

  set(name, value) {
    this.memory.set(name, value);
    try {
      window[this.area].setItem(this.prefix + name, JSON.stringify(value));
    } catch {
      // Blocked or full: the conversation lasts as long as the page.
    }
  }
}

// The sum the hub compares to know that both mean the same text. Source: RFC 1952 section 8, zlib.crc32.
function crc32(text) {
  let crc = 0xffffffff;
  for (const byte of new TextEncoder().encode(text)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
