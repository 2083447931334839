// Files on their way: each is sent on its own, with its progress, before the message that names it.

class Files {
  // `pass()` promises what names the visitor; `onChange()`: files came, went or got on; `onProblem(text)`.
  constructor(hub, { pass, onChange, onProblem }) {
    this.url = new URL("widget/files", hub).href;
    this.pass = pass;
    this.onChange = onChange;
    this.onProblem = onProblem;
    this.limits = null; // { bytes, count }; null: the hub takes no files
    this.items = [];
    this.list = h("ul", { class: "files", hidden: true });
  }

  get isBusy() {
    return this.items.some(({ id, problem }) => !id && !problem);
  }

  add(files) {
    if (!this.limits) return;
    const room = this.limits.count - this.items.length;
    for (const file of [...files].slice(0, Math.max(room, 0))) this.begin(file);
    if (files.length > room) this.onProblem(say("many", number(this.limits.count)));
    this.changed();
  }

  begin(file) {
    const item = { name: file.name, id: "", part: 0, problem: "", request: null };
    const state = h("span", { class: "part" });
    const remove = button(say("remove", file.name), { class: "remove", click: () => this.remove(item) }, icon("close"));
    item.node = h("li", {}, icon("file"), h("bdi", { class: "file" }, file.name), state, remove);
    item.show = () => {
      item.node.dataset.state = item.problem ? "failed" : item.id ? "ready" : "uploading";
      state.textContent = item.problem || (item.id ? "" : number(item.part, { style: "percent" }));
    };
    this.items.push(item);
    this.list.append(item.node);
    if (file.size > this.limits.bytes) this.fail(item, "too_large");
    else if (!file.size) this.fail(item, "empty");
    else this.upload(item, file);
  }

  async upload(item, file) {
    const request = (item.request = new XMLHttpRequest());
    request.upload.onprogress = ({ loaded, total }) => {
      item.part = total ? loaded / total : 0;
      this.changed();
    };
    request.onload = () => this.loaded(item, request);
    request.onerror = () => this.fail(item, "upload");
    try {
      const pass = await this.pass();
      if (!this.items.includes(item)) return;
      request.open("POST", this.url);
      request.setRequestHeader("X-Visitor", pass);
      request.setRequestHeader("X-File-Name", encodeURIComponent(file.name.toWellFormed()));
      request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
      request.send(file);
    } catch {
      this.fail(item, "upload");
    }
  }

  loaded(item, { status, responseText }) {
    let answer = {};
    try {
      answer = JSON.parse(responseText);
    } catch {
      // Something between here and the hub has answered.
    }
    if (status === 201) {
      item.id = answer.id;
      this.changed();
    } else {
      this.fail(item, answer.error?.code);
    }
  }

  fail(item, code) {
    const told = { unsupported: code, damaged: "unsupported", too_large: code, encrypted: code, empty: code }[code];
    item.problem = say(told ?? "upload", quantity(Math.round(this.limits.bytes / 2 ** 20), "megabyte"));
    this.onProblem(`${item.name}: ${item.problem}`);
    this.changed();
  }

  remove(item) {
    item.request?.abort();
    item.node.remove();
    this.items = this.items.filter((each) => each !== item);
    this.changed();
  }

  // Hand over what was uploaded; what could not be is dropped.
  take() {
    const ready = this.items.filter(({ id }) => id).map(({ id, name }) => ({ id, name }));
    this.items = [];
    this.list.replaceChildren();
    this.changed();
    return ready;
  }

  changed() {
    for (const item of this.items) item.show();
    this.list.hidden = !this.items.length;
    this.onChange();
  }
}
