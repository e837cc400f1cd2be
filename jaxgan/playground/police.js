// Part 2: real and generated images side by side, judged; and the beliefs about all of them.

const SHOWN = 24;
const BINS = 20;
// How many images are judged at a time; between two times the page responds to the user.
const CROWD_BLOCK = 6;

function startPolice() {
  const crowd = { real: [], fake: [] };
  let shown;

  function others() {
    shown = [
      [byId("real-grid"), pickReal(Math.min(SHOWN, REAL_COUNT))],
      [byId("fake-grid"), makeFresh(SHOWN)],
    ].map(([grid, { images, conditions }]) =>
      ({ grid, images, conditions, beliefs: judge(images, conditions) }));
    showGrids();
  }

  function showGrids() {
    const sorted = byId("sort").getAttribute("aria-pressed") === "true";
    for (const { grid, images, conditions, beliefs } of shown) {
      const order = images.map((_, i) => i);
      if (sorted) order.sort((a, b) => beliefs[b] - beliefs[a]);
      grid.replaceChildren(...order.map((i, place) =>
        judgedCell(images[i], beliefs[i], place, nameOf(conditions[i]))));
    }
  }

  function judgeCrowd() {
    const from = crowd.real.length;
    const real = realImages.slice(from, from + CROWD_BLOCK);
    const fake = makeFresh(real.length);
    crowd.real.push(...judge(real, real.map((_, i) => conditionOf(FACTS.labels[from + i]))));
    crowd.fake.push(...judge(fake.images, fake.conditions));
    showCrowd();
    if (crowd.real.length < REAL_COUNT) setTimeout(judgeCrowd, 0);
  }

  function showCrowd() {
    if (crowd.real.length < REAL_COUNT) {
      byId("crowd-text").textContent = say("crowdWait");
      return;
    }
    const [real, fake] = [crowd.real, crowd.fake].map((all) => all.filter(isReal).length);
    byId("crowd-text").textContent = say("crowdText", {
      real, fake, count: REAL_COUNT, right: percent((real + REAL_COUNT - fake) / (2 * REAL_COUNT)),
    });
    drawCrowd();
  }

  function drawCrowd() {
    const counts = [crowd.real, crowd.fake].map((all) => {
      const bins = new Array(BINS).fill(0);
      for (const belief of all) bins[Math.min(Math.floor(belief * BINS), BINS - 1)]++;
      return bins;
    });
    const most = Math.max(...counts.flat());
    const yTicks = ticks(-most, most, 4).map((value) => [value, String(Math.abs(value))]);
    const { root, x, y, top, bottom } = chart(byId("crowd"), {
      label: say("crowdLabel"), height: 260, xRange: [0, 1], yRange: [-most * 1.05, most * 1.05],
      xTicks: [0, 0.25, 0.5, 0.75, 1].map((value) => [value, percent(value)]), yTicks,
      xName: say("crowdAxis"), yName: say("howMany"),
    });
    const hatch = svg(svg(root, "defs", {}), "pattern", {
      id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)",
    });
    svg(hatch, "rect", { width: 6, height: 6, class: "hatch-ground" });
    svg(hatch, "line", { x1: 0, x2: 0, y1: 0, y2: 6, class: "hatch-line" });
    const width = x(1 / BINS) - x(0) - 2;
    counts.forEach((bins, isFake) => bins.forEach((count, i) => {
      const [from, to] = isFake ? [y(0), y(-count)] : [y(count), y(0)];
      svg(root, "rect", {
        class: isFake ? "bar fake" : "bar real", x: x(i / BINS) + 1, y: from, width, height: to - from,
      });
    }));
    svg(root, "line", { class: "zero", x1: x(0), x2: x(1), y1: y(0), y2: y(0) });
    svg(root, "line", { class: "half", x1: x(0.5), x2: x(0.5), y1: top, y2: bottom });
    svg(root, "text", { class: "half-text", x: x(0.5), y: top - 8, "text-anchor": "middle" }, say("equilibrium"));
  }

  byId("others").addEventListener("click", others);
  byId("sort").addEventListener("click", (event) => {
    const pressed = event.currentTarget.getAttribute("aria-pressed") === "true";
    event.currentTarget.setAttribute("aria-pressed", String(!pressed));
    showGrids();
  });
  new ResizeObserver(atNextFrame(showCrowd)).observe(byId("crowd"));
  others();
  judgeCrowd();
  redraws.push(() => {
    showGrids();
    showCrowd();
  });
}
