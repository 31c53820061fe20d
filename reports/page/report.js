"use strict";
const el = (name, props = {}, ...children) => {
  const e = Object.assign(document.createElement(name), props);
  e.append(...children);
  return e;
};

// Tables sort by a click on a head, and filter by what their rows say.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") !== "descending";
    heads.forEach(h => h.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const numbers = [...table.tBodies[0].rows].some(r => r.cells[column].dataset.value !== undefined);
    const value = row => {
      const cell = row.cells[column];
      return !numbers ? cell.textContent : cell.dataset.value === undefined ? -Infinity : Number(cell.dataset.value);
    };
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const x = value(a), y = value(b);
      const order = x < y ? -1 : x > y ? 1 : 0;
      return down ? -order : order;
    });
    table.tBodies[0].append(...rows);
  }));
}
for (const input of document.querySelectorAll("input.filter")) {
  input.addEventListener("input", () => {
    const rows = [...document.getElementById(input.dataset.for).tBodies[0].rows];
    const want = input.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.hidden = !row.cells[0].textContent.toLowerCase().includes(want);
      shown += row.hidden ? 0 : 1;
    }
    input.closest(".tools").querySelector(".shown").textContent = want ? `${shown} of ${rows.length} rows` : "";
  });
}

// The gallery: one page of prompts at a time, so that a large study stays light.
const gallery = window.ablateGallery;
const words = {g: "good", b: "bad", s: "skip"};
const source = (trial, i) => trial.data ? "data:image/png;base64," + trial.data[i] : `${trial.folder}/${i}.png`;
const picture = (trial, i, size) => el("img", {
  loading: "lazy", width: size, height: size, alt: `${words[trial.gold[i]]}: ${gallery.reads[trial.reads[i]]}`, src: source(trial, i),
});
if (gallery && gallery.seeds.length) {
  const id = name => document.getElementById("gallery-" + name);
  const perPage = 12;
  let page = 0;
  gallery.seeds.forEach((s, i) => id("seed").append(el("option", {value: i, textContent: s.seed})));
  for (const c of new Set(gallery.seeds.flatMap(s => s.prompts.map(p => p.category)))) id("category").append(el("option", {value: c, textContent: c}));
  const draw = () => {
    const seed = gallery.seeds[id("seed").value];
    const rows = seed.trials.map((t, i) => [t, gallery.rows[i].label]).filter(([t]) => t);
    const wanted = seed.prompts.map((p, i) => i).filter(i => {
      const p = seed.prompts[i], gold = rows.map(([t]) => t.gold[i]), want = id("gold").value;
      return (!id("category").value || p.category === id("category").value) &&
        (!id("seen").value || (id("seen").value === "unseen") === Boolean(p.unseen)) &&
        (!want || (want === "differ" ? new Set(gold).size > 1 : gold.includes(want)));
    });
    const pages = Math.max(1, Math.ceil(wanted.length / perPage));
    page = Math.min(page, pages - 1);
    id("page").textContent = `${page + 1} of ${pages} (${wanted.length} prompts)`;
    id("back").disabled = page === 0;
    id("next").disabled = page === pages - 1;
    const body = el("tbody");
    for (const i of wanted.slice(page * perPage, (page + 1) * perPage)) {
      const p = seed.prompts[i];
      const row = el("tr", {}, el("th", {scope: "row"}, p.text, el("br"), el("small", {textContent: p.category + (p.unseen ? ", unseen" : "")})));
      for (const [t] of rows) {
        if (t.gold[i] === "-") row.append(el("td", {textContent: "no image"}));
        else row.append(el("td", {className: words[t.gold[i]]}, picture(t, i, 80), el("br"), el("span", {textContent: words[t.gold[i]]}), el("small", {textContent: gallery.reads[t.reads[i]]})));
      }
      body.append(row);
    }
    const head = el("tr", {}, el("th", {scope: "col", textContent: "prompt"}), ...rows.map(([, label]) => el("th", {scope: "col", textContent: label})));
    document.getElementById("gallery").replaceChildren(el("table", {className: "grid"}, el("thead", {}, head), body));
  };
  for (const name of ["seed", "category", "seen", "gold"]) id(name).addEventListener("change", () => { page = 0; draw(); });
  id("back").addEventListener("click", () => { page--; draw(); });
  id("next").addEventListener("click", () => { page++; draw(); });
  document.getElementById("gallery-tools").hidden = false;
  // Drawn when the reader comes near, for a large study has many pictures.
  const near = new IntersectionObserver(list => {
    if (list.some(e => e.isIntersecting)) { near.disconnect(); draw(); }
  }, {rootMargin: "600px"});
  near.observe(document.getElementById("gallery-tools"));
  addEventListener("beforeprint", draw);
}

// A point of the figure shows its trial and pictures, to a mouse and to the keyboard.
const card = document.getElementById("card");
const show = spot => {
  const row = Number(spot.dataset.row);
  card.replaceChildren(el("p", {}, el("b", {textContent: gallery ? gallery.rows[row].label : ""})), el("p", {textContent: gallery ? gallery.rows[row].text : spot.getAttribute("aria-label")}));
  const seed = gallery && gallery.seeds[0], trial = seed && seed.trials[row];
  if (trial) {
    card.append(el("p", {textContent: `trial ${trial.id}, seed ${seed.seed}`}));
    for (let i = 0, n = 0; i < seed.prompts.length && n < 4; i++) {
      if (trial.gold[i] === "-") continue;
      card.append(picture(trial, i, 64));
      n++;
    }
  }
  card.hidden = false;
};
const hide = () => { card.hidden = true; };
for (const spot of document.querySelectorAll(".spot")) {
  spot.addEventListener("mouseenter", () => show(spot));
  spot.addEventListener("focus", () => show(spot));
  spot.addEventListener("mouseleave", hide);
  spot.addEventListener("blur", hide);
}
addEventListener("keydown", e => { if (e.key === "Escape") hide(); });

// A link to a trial opens what it is in. An address that ends in what is not escaped
// text, such as #100%, names nothing here.
const open = () => {
  let name;
  try {
    name = decodeURIComponent(location.hash.slice(1));
  } catch {
    return;
  }
  const target = name && document.getElementById(name);
  const details = target && target.closest("details");
  if (details) { details.open = true; target.scrollIntoView(); }
};
addEventListener("hashchange", open);
open();
