// Part 1: a grid of fresh images; the picked ones bent by sliders, and a walk between two.

const FRESH = 24;
const WALK = 9;
// How far a slider goes, in standard deviations of a latent's numbers.
const REACH = 3;

function startCounterfeiter() {
  const spread = FACTS.noise === "uniform" ? 1 / Math.sqrt(3) : 1;
  const [grid, strip, walk] = [byId("fresh-grid"), byId("walk-strip"), byId("walk")];
  let latents, conditions, images, beliefs;
  // The last two picks, each {index, latent, condition}. A slider gives a pick another latent, and
  // `latents` keeps the first.
  let picks = [];
  // For each attribute the number of the class that is asked for, or null for any class.
  const wanted = FACTS.attributes.map(() => null);
  const sliders = directions.map((direction, i) => makeSlider(i));

  function makeSlider(i) {
    const row = byId("sliders").appendChild(make("div", "slider"));
    const [low, high] = [make("canvas", "paper"), make("canvas", "paper")];
    const input = make("input");
    Object.assign(input, { type: "range", min: -REACH, max: REACH, step: 0.05 });
    for (const canvas of [low, high]) canvas.width = canvas.height = 28;
    row.append(low, input, high);
    input.addEventListener("input", () => {
      bend(i, Number(input.value));
      showLater();
    });
    return { low, input, high };
  }

  function pickOf(index) {
    return { index, latent: latents[index], condition: conditions[index] };
  }

  function fresh() {
    ({ latents, conditions, images } = makeFresh(FRESH, wanted));
    beliefs = judge(images, conditions);
    picks = [0, 1].map(pickOf);
    walk.value = 100;
    showGrid();
    showAll();
  }

  function pick(index) {
    const last = picks[1];
    if (last.index !== index) picks = [last, pickOf(index)];
    walk.value = 100;
    markPicks();
    showAll();
  }

  function along(latent, i) {
    return latent.reduce((sum, value, at) => sum + value * directions[i][at], 0) / spread;
  }

  function moved(latent, i, to) {
    const by = (to - along(latent, i)) * spread;
    const limit = FACTS.noise === "uniform" ? 1 : Infinity;
    return latent.map((value, at) =>
      Math.min(Math.max(value + by * directions[i][at], -limit), limit));
  }

  function bend(i, to) {
    picks[1].latent = moved(picks[1].latent, i, to);
    walk.value = 100;
  }

  function showGrid() {
    const hadFocus = [...grid.children].indexOf(document.activeElement);
    grid.replaceChildren(...images.map((image, i) =>
      judgedCell(image, beliefs[i], i, nameOf(conditions[i]), () => pick(i))));
    [...grid.children].forEach((button, i) => (button.tabIndex = i === Math.max(hadFocus, 0) ? 0 : -1));
    if (hadFocus >= 0) grid.children[hadFocus].focus();
    markPicks();
  }

  function markPicks() {
    [...grid.children].forEach((button, i) => {
      const order = picks.map((each) => each.index).lastIndexOf(i);
      button.setAttribute("aria-pressed", String(order >= 0));
      button.querySelector(".badge")?.remove();
      if (order >= 0) button.append(make("span", "badge", "①②"[order]));
    });
  }

  function onTheWay(fraction) {
    const [start, end] = picks;
    return {
      latent: between(start.latent, end.latent, fraction),
      condition: mixed(start.condition, end.condition, fraction),
    };
  }

  function showBig() {
    const { latent, condition } = onTheWay(walk.value / 100);
    const [image] = generate([latent], [condition]);
    paint(byId("big"), image);
    byId("big").setAttribute("aria-label", say("bigLabel"));
    showVerdict(byId("big-verdict"), judge([image], [condition])[0]);
    walk.setAttribute("aria-valuetext", percent(walk.value / 100));
  }

  function showAll() {
    showBig();
    const { latent, condition } = picks[1];
    const ends = sliders.flatMap((_, i) => [moved(latent, i, -REACH), moved(latent, i, REACH)]);
    const shown = generate(ends, ends.map(() => condition));
    sliders.forEach(({ low, input, high }, i) => {
      paint(low, shown[2 * i]);
      paint(high, shown[2 * i + 1]);
      const value = along(latent, i);
      input.value = value;
      input.setAttribute("aria-label", say("slider", { number: i + 1 }));
      input.setAttribute("aria-valuetext", decimals(value, 1));
    });
    const steps = Array.from({ length: WALK }, (_, i) => onTheWay(i / (WALK - 1)));
    const way = generate(steps.map((step) => step.latent), steps.map((step) => step.condition));
    strip.replaceChildren(...way.map((image) => cell(image, "", [])));
  }

  const showLater = atNextFrame(showAll);
  byId("fresh").addEventListener("click", fresh);
  byId("as-drawn").addEventListener("click", () => {
    for (const each of picks) each.latent = latents[each.index];
    walk.value = 100;
    showAll();
  });
  walk.addEventListener("input", atNextFrame(showBig));
  moveByArrows(grid);
  makePickers(byId("classes"), wanted, fresh);
  fresh();
  redraws.push(() => {
    showGrid();
    showAll();
  });
}
