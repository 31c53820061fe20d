"use strict";
// The page of one rater. The server keeps all that counts: the page shows what it says is next, and goes on only when it
// has said that an answer is kept. An answer has an id, so that it can be sent again.
const at = id => document.getElementById(id);
const questions = ["alignment", "fidelity"], sides = ["left", "tie", "right"];
const words = { left: "Left", tie: "Tie", right: "Right" };
let shown = null, since = 0, sending = false;

for (const q of questions)
  sides.forEach((side, k) => {
    const label = document.createElement("label"), input = document.createElement("input"), text = document.createElement("span"), key = document.createElement("kbd");
    label.className = "choice";
    Object.assign(input, { type: "radio", name: q, value: side });
    input.addEventListener("change", ready);
    key.textContent = k + 1;
    key.setAttribute("aria-hidden", "true");
    text.append(words[side], key);
    label.append(input, text);
    at(q).append(label);
  });

const chosen = q => document.querySelector(`input[name=${q}]:checked`);

function ready() {
  const open = questions.filter(q => !chosen(q));
  at("send").disabled = open.length > 0 || sending;
  for (const q of questions) at(q).classList.toggle("now", q === open[0]);
}

function pictures(grid, list, side) {
  grid.classList.toggle("one", list.length === 1);
  grid.replaceChildren(...list.map((src, k) => {
    const img = document.createElement("img");
    img.addEventListener("load", () => img.classList.toggle("small", img.naturalWidth <= 64));
    img.addEventListener("error", () => fail("A picture could not be loaded. Load the page again; if that does not help, tell the person who gave you the link."));
    Object.assign(img, { src, alt: `${side}, picture ${k + 1}` });
    return img;
  }));
}

function show(state) {
  const { task, done, of, left } = state;
  at("bar").value = of ? done / of : 1;
  at("far").textContent = `${done} of ${of}` + (left && task ? `, about ${left < 90 ? "a minute" : Math.ceil(left / 60) + " minutes"} left` : "");
  at("undo").hidden = !state.undo;
  at("task").hidden = !task;
  at("end").hidden = !!task;
  shown = task;
  if (!task) { at("said").textContent = "All is answered."; return; }
  at("prompt").textContent = task.prompt;
  pictures(document.querySelector("#left .grid"), task.sides[0], "Left");
  pictures(document.querySelector("#right .grid"), task.sides[1], "Right");
  for (const q of questions) if (chosen(q)) chosen(q).checked = false;
  since = performance.now();
  for (const src of state.next || []) new Image().src = src;
  at("said").textContent = `Task ${done + 1} of ${of}: ${task.prompt}`;
  window.scrollTo(0, 0);
  ready();
}

function fail(text) {
  at("error").textContent = text;
  at("error").hidden = false;
}

const wait = ms => new Promise(then => setTimeout(then, ms));

// ask sends a request until the server has answered. A slow or broken network is tried again; a refusal is shown.
async function ask(path, body) {
  for (let pause = 500; ; pause = Math.min(2 * pause, 15000)) {
    try {
      const answer = await fetch(path, body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
      if (answer.ok) { at("error").hidden = true; return await answer.json(); }
      if (answer.status !== 429 && answer.status < 500) { fail((await answer.json()).error); return null; }
      fail((await answer.json()).error + " It is tried again.");
    } catch {
      fail("There is no connection. Nothing is lost: the page tries again.");
    }
    await wait(pause);
  }
}

const id = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), b => b.toString(16).padStart(2, "0")).join("");

async function send(path, body) {
  if (sending) return;
  sending = true;
  ready();
  const state = await ask(path, { id: id(), ...body });
  sending = false;
  if (state) show(state);
  ready();
}

const next = () => shown && !at("send").disabled && send("answer", {
  task: shown.number, seconds: Math.round(performance.now() - since) / 1000,
  alignment: chosen("alignment").value, fidelity: chosen("fidelity").value,
});
const undo = () => !at("undo").hidden && send("undo", { task: 0, seconds: 0, alignment: "", fidelity: "" });
const zoom = () => at("zoom").setAttribute("aria-pressed", document.body.classList.toggle("large"));
at("send").addEventListener("click", next);
at("zoom").addEventListener("click", zoom);
at("undo").addEventListener("click", undo);
document.addEventListener("keydown", e => {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  const k = ["1", "2", "3"].indexOf(e.key);
  if (k >= 0 && shown) {
    const q = questions.find(q => !chosen(q)) || questions[1];
    document.querySelector(`input[name=${q}][value=${sides[k]}]`).checked = true;
    ready();
  } else if (e.key === "Enter" && e.target.tagName !== "BUTTON") next();
  else if (e.key === "Backspace") { e.preventDefault(); undo(); }
  else if (e.key === "z" || e.key === "Z") zoom();
});
// Another tab of the same person may have answered meanwhile.
document.addEventListener("visibilitychange", async () => {
  if (document.hidden || sending) return;
  const state = await ask("state");
  if (state && (!shown || !state.task || state.task.number !== shown.number)) show(state);
});
ask("state").then(state => state && show(state));
