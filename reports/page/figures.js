
// A point of a figure shows its name and values, to the mouse and to the keyboard; a point
// of the first figure pictures, too. From row to row leads the tabulator, along a row the
// arrow keys.
const card = document.getElementById("card");
const show = spot => {
  const name = spot.dataset.name;
  card.replaceChildren(el("p", {}, el("b", {textContent: name})), el("p", {textContent: spot.getAttribute("aria-label").slice(name.length + 2)}));
  const seed = data && spot.closest("#figure-front") && data.seeds[0], trial = seed && seed.trials[spot.dataset.row];
  if (trial) {
    const shown = seed.prompts.map((p, i) => i).filter(i => trial.gold[i] !== "-").slice(0, 4);
    card.append(el("p", {textContent: `trial ${trial.id}, seed ${seed.seed}`}), el("div", {}, ...shown.map(i => el("figure", {}, picture(trial, i, 64), el("figcaption", {textContent: seed.prompts[i].text})))));
  }
  card.hidden = false;
  // Below the point, or above it where there is no room, and within the window.
  const at = spot.getBoundingClientRect(), middle = at.left + at.width / 2;
  const top = at.bottom + card.offsetHeight + 20 > innerHeight && at.top > card.offsetHeight + 20 ? at.top - card.offsetHeight - 14 : at.bottom + 14;
  card.style.left = `${scrollX + Math.max(8, Math.min(middle - card.offsetWidth / 2, document.documentElement.clientWidth - card.offsetWidth - 8))}px`;
  card.style.top = `${scrollY + top}px`;
};
const hide = () => { card.hidden = true; };
let touched; // a finger's first touch shows a point, and its second follows the link
for (const plot of document.querySelectorAll(".plot")) {
  const series = new Map();
  for (const spot of plot.querySelectorAll(".spot")) {
    const of = series.get(spot.dataset.series) || [];
    series.set(spot.dataset.series, [...of, spot]);
    if (of.length) spot.tabIndex = -1;
    spot.addEventListener("mouseenter", () => show(spot));
    spot.addEventListener("focus", () => show(spot));
    spot.addEventListener("mouseleave", hide);
    spot.addEventListener("blur", hide);
    spot.addEventListener("click", e => {
      if (e.pointerType !== "touch" || touched === spot) return;
      touched = spot;
      show(spot);
      e.preventDefault();
    });
    spot.addEventListener("keydown", e => {
      const of = series.get(spot.dataset.series), step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[e.key];
      if (!step || of.length < 2) return;
      of[(of.indexOf(spot) + step + of.length) % of.length].focus();
      e.preventDefault();
    });
  }
}
addEventListener("keydown", e => { if (e.key === "Escape") hide(); });
