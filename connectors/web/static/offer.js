// An answer that takes long may go by mail: the visitor is asked for an address, in the chat and when they close it.

const OFFER_MS = 15000;

class Offer {
  // `onLeave(email)`: the visitor gave an address. `onDismiss()`: they would rather not.
  constructor({ onLeave, onDismiss }) {
    this.onLeave = onLeave;
    this.email = h("input", { type: "email", required: true, autocomplete: "email", "aria-label": say("email"), placeholder: say("email"), "aria-describedby": "offer-problem" });
    this.told = h("p", { id: "offer-problem", class: "problem", hidden: true });
    const submit = (event) => this.submitted(event);
    this.fields = h("form", { class: "fields", novalidate: true, submit }, this.email, h("button", { type: "submit" }, say("save")));
    this.text = h("span", { id: "offer-text" }, say("mail"));
    const dismiss = () => {
      this.isDismissed = true;
      this.hide();
      onDismiss();
    };
    this.dismiss = button(say("dismiss"), { class: "remove", click: dismiss }, icon("close"));
    this.node = h(
      "div",
      { class: "offer", role: "group", "aria-labelledby": "offer-text", hidden: true },
      h("div", { class: "line" }, this.text, this.dismiss),
      this.fields,
      this.told,
    );
    this.isDismissed = false;
    this.isKept = false;
  }

  // Whether there is something to ask for.
  get isOpen() {
    return !this.isDismissed && !this.isKept;
  }

  show(place, email) {
    if (this.node.parentNode !== place) place.prepend(this.node);
    this.email.value ||= email ?? "";
    this.node.hidden = false;
  }

  hide() {
    this.node.hidden = true;
  }

  submitted(event) {
    event.preventDefault();
    if (this.email.checkValidity()) this.onLeave(this.email.value);
    else this.refuse(say("bad_email"));
  }

  refuse(problem) {
    this.told.textContent = problem;
    this.told.hidden = false;
    this.email.setAttribute("aria-invalid", "true");
    this.email.focus();
  }

  // A new conversation may be asked again.
  reset() {
    this.isDismissed = this.isKept = this.fields.hidden = false;
    this.text.textContent = say("mail");
    this.hide();
  }

  keep(email) {
    this.isKept = true;
    if (this.fields.contains(this.node.getRootNode().activeElement)) this.dismiss.focus();
    this.fields.hidden = this.told.hidden = true;
    this.text.textContent = say("left", email);
  }
}
