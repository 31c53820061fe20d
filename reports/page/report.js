"use strict";
const el = (name, props = {}, ...children) => {
  const e = Object.assign(document.createElement(name), props);
  e.append(...children);
  return e;
};
const reversed = {ascending: "descending", descending: "ascending"};

// A table sorts by a click on a head: first with the better values at the top, then with
// the worse, then in its own order again. What has no value comes last either way.
const sortable = table => {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const reset = table.closest("section").querySelector(".reset");
  let own = [...body.rows]; // in the table's own order
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
  };
  const sort = () => {
    const column = heads.findIndex(h => h.hasAttribute("aria-sort"));
    if (reset) reset.hidden = column < 0;
    if (column < 0) return body.append(...own);
    const sign = heads[column].getAttribute("aria-sort") === "ascending" ? 1 : -1;
    const numbers = own.some(r => r.cells[column].dataset.value !== undefined);
    const there = own.filter(r => !numbers || r.cells[column].dataset.value !== undefined);
    there.sort((a, b) => {
      const x = value(a, column), y = value(b, column);
      return sign * (numbers ? x - y : x.localeCompare(y, "en", {numeric: true}));
    });
    body.append(...there, ...own.filter(r => !there.includes(r)));
  };
  const by = (head, direction) => {
    heads.forEach(h => h.removeAttribute("aria-sort"));
    if (direction) head.setAttribute("aria-sort", direction);
    sort();
  };
  for (const head of heads) {
    head.querySelector("button").addEventListener("click", () => {
      const first = head.dataset.first || "ascending", now = head.getAttribute("aria-sort");
      by(head, !now ? first : now === first ? reversed[first] : null);
    });
  }
  if (reset) reset.addEventListener("click", () => by(null, null));
  return rows => { // that the table has from now on
    own = rows;
    body.replaceChildren();
    sort();
  };
};
const tables = new Map([...document.querySelectorAll("table.sortable")].map(t => [t.id, sortable(t)]));

// What is typed into one filter holds for every table of rows of the study.
const filters = [...document.querySelectorAll("input.filter")];
const filter = text => {
  const want = text.trim().toLowerCase();
  for (const table of document.querySelectorAll("table[data-filtered]")) {
    let shown = 0;
    const rows = [...table.tBodies[0].rows];
    for (const row of rows) {
      row.hidden = !`${row.dataset.name} ${row.cells[0].textContent}`.toLowerCase().includes(want);
      shown += row.hidden ? 0 : 1;
    }
    table.closest("section").querySelector(".shown").textContent = want ? `${shown} of ${rows.length} rows` : "";
  }
};
for (const input of filters) {
  input.addEventListener("input", () => {
    filters.forEach(f => { f.value = input.value; });
    filter(input.value);
  });
}

// Groups of columns open.
for (const box of document.querySelectorAll("input[data-group]")) {
  box.addEventListener("change", () => {
    box.closest("section").querySelector("table.metrics").classList.toggle("open-" + box.dataset.group, box.checked);
  });
  box.checked = false; // a browser may have kept it over a reload
}

// In a page of one file the data are there once: other links to them press the first.
for (const link of document.querySelectorAll("a.data[href^='#']")) {
  link.addEventListener("click", e => { e.preventDefault(); document.querySelector(link.hash).click(); });
}

// What report.js draws itself: see gallery.go.
const data = window.ablate;
const words = {g: "good", b: "bad", s: "skip", v: "", n: ""};
const judged = (trial, i) => trial.numbers ? trial.numbers[i] : words[trial.gold[i]];
const source = (trial, i) => trial.data ? `data:image/${data.kind};base64,${trial.data[i]}` : `${trial.folder}/${i}.${data.kind}`;
const picture = (trial, i, size) => el("img", {
  loading: "lazy", width: size, height: size, alt: [judged(trial, i), data.reads[trial.reads[i]]].filter(Boolean).join(": "), src: source(trial, i),
});
// A picture that is a link to itself, as large as the report has it. A page in one file has no
// larger ones.
const linked = (trial, i, size, name) => {
  const img = picture(trial, i, size);
  if (data.kind !== "jpeg" || trial.data) return img;
  const full = (trial.full || []).includes(i);
  return el("a", {href: full ? `${trial.folder}/${i}-full.${data.kind}` : img.src, target: "_blank", rel: "noopener", ariaLabel: `${name}: open the picture`}, img);
};
const large = data && data.kind === "jpeg" ? 112 : 80;
const rowName = i => data.rows[i].href ? el("a", {href: data.rows[i].href, textContent: data.rows[i].label}) : data.rows[i].label;
// Text in quotation marks is looked for as a whole prompt, other text within prompts.
const matches = (prompt, text) => {
  const want = text.trim().toLowerCase();
  return want.length > 1 && want.startsWith('"') && want.endsWith('"') ? prompt.toLowerCase() === want.slice(1, -1) : prompt.toLowerCase().includes(want);
};
const options = (select, list) => select.append(...list.map(([value, textContent]) => el("option", {value, textContent})));
const address = state => "#samples?" + new URLSearchParams(state);

// The pictures: a page of prompts at a time, so that a large study stays light. The
// controls are the state, and the address of the page has it, so that a view can be
// linked to.
const gallery = () => {
  const id = name => document.getElementById("gallery-" + name);
  const fields = ["view", "a", "b", "seed", "category", "seen", "gold", "verdict", "text"]; // of an address, and controls
  const perPage = 12;
  const rows = data.rows.map((r, i) => i).filter(i => data.seeds.some(s => s.trials[i]));
  const named = new Map(rows.map(i => [data.rows[i].name, i]));
  const others = rows.filter(i => i !== data.reference);
  let page = 0, drawn = false;
  const names = rows.map(i => [data.rows[i].name, data.rows[i].label]);
  options(id("a"), names);
  options(id("b"), names);
  id("a").value = data.rows[rows.includes(data.reference) ? data.reference : rows[0]].name;
  id("b").value = data.rows[others[0] ?? rows[0]].name;
  options(id("seed"), data.seeds.map(s => [s.seed, s.seed]));
  id("seed").value = data.seeds[0].seed;
  options(id("category"), [...new Set(data.seeds.flatMap(s => s.prompts.map(p => p.category)))].filter(Boolean).map(c => [c, c]));
  const boxes = others.map(i => el("input", {type: "checkbox", value: data.rows[i].name, checked: data.chosen.includes(i)}));
  const arms = id("arms").querySelector("fieldset");
  const pick = (textContent, checked) => el("button", {type: "button", textContent, onclick: () => { boxes.forEach(b => { b.checked = checked; }); draw(); }});
  arms.append(pick("all", true), pick("none", false), ...boxes.map(b => el("label", {}, b, " " + data.rows[named.get(b.value)].label)));
  arms.querySelector("span").textContent = data.rows[data.reference].label;
  const first = new URLSearchParams(state()); // what an address need not have

  function state() {
    const s = fields.map(f => [f, id(f).value]);
    const chosen = boxes.filter(b => b.checked).map(b => ["arm", b.value]);
    return [...s, ...(chosen.length ? chosen : [["arm", ""]]), ["page", page + 1]];
  }
  // shorter leaves out what is as it was at first.
  function shorter() {
    const now = new URLSearchParams(state());
    const same = key => now.getAll(key).join("\n") === first.getAll(key).join("\n");
    const unused = id("view").value === "two" ? ["gold", "arm"] : ["a", "b", "verdict"];
    return [...now].filter(([key]) => !same(key) && !unused.includes(key));
  }
  function restore(search) {
    const want = new URLSearchParams(search);
    for (const f of fields) {
      const value = want.get(f) ?? first.get(f);
      if (id(f).tagName !== "SELECT" || [...id(f).options].some(o => o.value === value)) id(f).value = value;
    }
    const chosen = want.has("arm") ? want.getAll("arm") : first.getAll("arm");
    boxes.forEach(b => { b.checked = chosen.includes(b.value); });
    page = Math.max(0, (parseInt(want.get("page")) || 1) - 1);
  }

  const cell = (trial, i) => trial && trial.gold[i] !== "-" && trial.gold[i];
  const caption = (trial, i) => [el("span", {textContent: judged(trial, i)}), el("small", {textContent: data.reads[trial.reads[i]]})];
  const level = (trial, i) => trial.numbers ? Number(trial.numbers[i] || NaN) : Number(trial.gold[i] === "g");
  const about = (seed, p) => [p.category, p.unseen ? "unseen" : "", "seed " + seed.seed].filter(Boolean).join(", ");
  const wanted = (two, shown) => data.seeds.filter(s => !id("seed").value || s.seed === id("seed").value).flatMap(seed => seed.prompts.map((p, i) => ({seed, p, i}))).filter(({seed, p, i}) => {
    const trials = shown.map(r => seed.trials[r]).filter(t => cell(t, i)), gold = trials.map(t => t.gold[i]);
    const [a, b] = trials.map(t => level(t, i)), want = id(two ? "verdict" : "gold").value;
    return (!id("category").value || p.category === id("category").value) &&
      (!id("seen").value || (id("seen").value === "unseen") === Boolean(p.unseen)) && matches(p.text, id("text").value) &&
      (two ? gold.length === 2 && (!want || {a: a > b, b: b > a, both: a && b, none: !a && !b}[want]) :
        gold.length > 0 && (!want || (want === "differ" ? new Set(gold).size > 1 : gold.includes(want))));
  });
  const grid = (list, shown) => {
    const pinned = r => r === data.reference ? "pinned " : "";
    const head = el("tr", {}, el("th", {scope: "col", textContent: "prompt"}), ...shown.map(r => el("th", {scope: "col", className: pinned(r)}, rowName(r))));
    return el("table", {className: "grid"}, el("thead", {}, head), el("tbody", {}, ...list.map(({seed, p, i}) =>
      el("tr", {}, el("th", {scope: "row"}, p.text, el("small", {textContent: about(seed, p)})), ...shown.map(r => {
        const trial = seed.trials[r];
        return cell(trial, i) ? el("td", {className: pinned(r) + words[trial.gold[i]]}, linked(trial, i, large, `${data.rows[r].label}, ${p.text}`), ...caption(trial, i)) : el("td", {className: pinned(r), textContent: "no image"});
      })))));
  };
  const pairs = (list, shown) => el("div", {className: "pairs"}, ...list.map(({seed, p, i}) => el("div", {className: "pair"},
    el("p", {}, el("b", {textContent: p.text}), " ", el("small", {textContent: about(seed, p)})),
    ...shown.map((r, k) => {
      const trial = seed.trials[r];
      return el("figure", {className: words[trial.gold[i]]}, linked(trial, i, 256, `${data.rows[r].label}, ${p.text}`), el("figcaption", {}, el("b", {}, "AB"[k] + ": ", rowName(r)), el("br"), ...caption(trial, i)));
    }))));

  function draw() {
    drawn = true;
    const two = id("view").value === "two";
    for (const e of id("tools").querySelectorAll(".two, .many")) e.hidden = e.classList.contains("two") !== two;
    const chosen = boxes.filter(b => b.checked).map(b => named.get(b.value));
    const shown = two ? [named.get(id("a").value), named.get(id("b").value)] : [...(rows.includes(data.reference) ? [data.reference] : []), ...chosen];
    id("arms").querySelector("summary").textContent = `${chosen.length} of ${others.length} other arms`;
    const list = wanted(two, shown), pages = Math.max(1, Math.ceil(list.length / perPage));
    page = Math.min(page, pages - 1);
    id("page").textContent = `${page + 1} of ${pages} (${list.length} prompts)`;
    id("back").disabled = page === 0;
    id("next").disabled = page === pages - 1;
    id("link").href = address(shorter());
    document.getElementById("gallery").replaceChildren((two ? pairs : grid)(list.slice(page * perPage, (page + 1) * perPage), shown));
  }
  const changed = () => {
    draw();
    history.replaceState(null, "", id("link").href);
  };
  const again = () => { page = 0; changed(); };
  for (const f of [...fields, "arms"]) id(f).addEventListener(f === "text" ? "input" : "change", again);
  id("swap").addEventListener("click", () => { [id("a").value, id("b").value] = [id("b").value, id("a").value]; again(); });
  id("back").addEventListener("click", () => { page--; changed(); });
  id("next").addEventListener("click", () => { page++; changed(); });
  const follow = () => {
    if (!location.hash.startsWith("#samples?")) return;
    restore(location.hash.slice("#samples?".length));
    draw();
    document.getElementById("samples").scrollIntoView();
  };
  addEventListener("hashchange", follow);
  id("tools").hidden = id("pager").hidden = false;
  for (const e of id("tools").querySelectorAll(".two")) e.hidden = true;
  // Drawn when the reader comes near, for a large study has many pictures.
  const near = new IntersectionObserver(list => {
    if (list.some(e => e.isIntersecting)) { near.disconnect(); if (!drawn) draw(); }
  }, {rootMargin: "600px"});
  near.observe(id("tools"));
  addEventListener("beforeprint", () => { if (!drawn) draw(); });
  follow();
};
if (data && data.seeds.length) gallery();

// What an arm wins and loses, prompt by prompt.
const byPrompt = () => {
  const id = name => document.getElementById("prompt-" + name);
  const pictured = new Set(data.seeds.flatMap(s => s.prompts.map(p => p.text)));
  options(id("arm"), data.exchanges.map((e, k) => [k, data.rows[e.row].label]));
  options(id("category"), [...new Set(data.prompts.map(p => p.category))].filter(Boolean).map(c => [c, c]));
  const columns = document.getElementById("prompt-table").tHead.rows[0].cells.length;
  const number = (n, textContent = n) => { const td = el("td", {textContent}); td.dataset.value = n; return td; };
  const signed = n => (n > 0 ? "+" : n < 0 ? "−" : "") + Math.abs(n);
  const draw = () => {
    const e = data.exchanges[id("arm").value];
    const list = data.prompts.map((p, i) => i).filter(i => e.pairs[i] && matches(data.prompts[i].text, id("text").value) && (!id("category").value || data.prompts[i].category === id("category").value));
    const net = i => e.won[i] - e.lost[i];
    list.sort((i, j) => Math.abs(net(j)) - Math.abs(net(i)) || net(j) - net(i)); // the prompts that an arm changes most, better or worse
    const link = address({view: "two", a: data.rows[e.row].name, b: data.rows[data.reference].name, seed: ""});
    tables.get("prompt-table")(list.map(i => {
      const p = data.prompts[i];
      const text = pictured.has(p.text) ? el("a", {href: `${link}&${new URLSearchParams({text: `"${p.text}"`})}`, textContent: p.text}) : p.text;
      return el("tr", {}, ...[el("th", {scope: "row"}, text), el("td", {className: "text", textContent: p.category + (p.unseen ? ", unseen" : "")}),
        number(e.pairs[i]), number(e.won[i]), number(e.lost[i]), number(net(i), signed(net(i))), number(e.better[i]), number(e.worse[i])].slice(0, columns));
    }));
    id("shown").textContent = `${list.length} of ${data.prompts.length} prompts`;
    const line = (name, of) => {
      const sum = counts => of.reduce((n, i) => n + counts[i], 0), won = sum(e.won), lost = sum(e.lost);
      return el("tr", {}, el("th", {scope: "row", textContent: name}), ...[sum(e.pairs), won, lost, signed(won - lost)].map(textContent => el("td", {textContent})));
    };
    const kinds = [...new Set(list.toSorted((i, j) => i - j).map(i => data.prompts[i].category))].filter(Boolean);
    const head = ["", "pairs", "won", "lost", "won − lost"].map(textContent => textContent ? el("th", {scope: "col", textContent}) : el("td"));
    id("sum").replaceChildren(id("sum").caption, el("thead", {}, el("tr", {}, ...head)),
      el("tbody", {}, ...kinds.map(k => line(k, list.filter(i => data.prompts[i].category === k))), line("together", list)));
  };
  for (const name of ["arm", "category"]) id(name).addEventListener("change", draw);
  id("text").addEventListener("input", draw);
  document.getElementById("by-prompt").hidden = false;
  draw();
};
if (data && data.exchanges.length) byPrompt();

// A link to a row's parameters or to a trial opens what it is in. An address that ends in
// what is not escaped text, such as #100%, names nothing here.
const reveal = () => {
  let name;
  try {
    name = decodeURIComponent(location.hash.slice(1));
  } catch {
    return;
  }
  const target = name && document.getElementById(name);
  if (!target || !target.closest("details")) return;
  for (let d = target.closest("details"); d; d = d.parentElement.closest("details")) d.open = true;
  target.scrollIntoView();
};
addEventListener("hashchange", reveal);
reveal();

// On paper nothing opens: what is closed is printed too, but for lists that repeat.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("main details:not([open], .whole, #gallery-arms)")];
  opened.forEach(d => { d.open = true; });
});
addEventListener("afterprint", () => { opened.forEach(d => { d.open = false; }); });
