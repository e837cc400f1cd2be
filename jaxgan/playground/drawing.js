// Images and curves on the screen.

const INK = [22, 32, 46];
const SVG = "http://www.w3.org/2000/svg";

function byId(id) {
  return document.getElementById(id);
}

function make(name, className = "", text = "") {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

// Ink on paper: the brighter a pixel, the more ink.
function paint(canvas, image, width = 28) {
  const pixels = new ImageData(width, image.length / width);
  image.forEach((value, i) => pixels.data.set([...INK, Math.round(255 * value)], 4 * i));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

function isReal(probability) {
  return probability >= 0.5;
}

function word(probability) {
  return say(isReal(probability) ? "real" : "fake");
}

// A bar from 0 to 1 with a mark at 1/2.
function scale(probability) {
  const bar = make("span", isReal(probability) ? "scale" : "scale fake");
  const fill = bar.appendChild(make("span"));
  fill.style.width = `${100 * probability}%`;
  return bar;
}

function showVerdict(element, probability) {
  const text = say("verdict", { percent: percent(probability), word: word(probability) });
  element.replaceChildren(make("span", "", text), scale(probability));
}

// An image above the elements of `caption`. With `onPick` it is a button.
function cell(image, label, caption, onPick) {
  const element = make(onPick ? "button" : "div", "cell");
  if (onPick) {
    element.type = "button";
    element.addEventListener("click", onPick);
  } else {
    element.setAttribute("role", "img");
  }
  element.setAttribute("aria-label", label);
  const canvas = element.appendChild(make("canvas", "paper"));
  canvas.width = canvas.height = 28;
  paint(canvas, image);
  element.append(...caption);
  return element;
}

// name: of the image's classes; "" for an unconditional pair.
function judgedCell(image, probability, number, name, onPick) {
  const shown = percent(probability);
  const mark = isReal(probability) ? "✓" : "✗";
  const caption = [make("span", "belief", `${shown} ${mark}`), scale(probability)];
  const values = { number: number + 1, percent: shown, name };
  return cell(image, say(name ? "classLabel" : "imageLabel", values), caption, onPick);
}

// A group of radio buttons for each attribute. The buttons keep `codes` up to date: for each
// attribute the number of the chosen class, or null for any class. Only a group whose code is null
// at the start has a button for any class.
function makePickers(container, codes, onPick) {
  FACTS.attributes.forEach(({ name, classes }, i) => {
    const group = container.appendChild(make("fieldset", "picker"));
    const legend = group.appendChild(make("legend"));
    const choices = [...(codes[i] === null ? [null] : []), ...classes.keys()];
    const words = choices.map((code) => {
      const label = group.appendChild(make("label"));
      const input = label.appendChild(make("input"));
      const checked = code === codes[i];
      Object.assign(input, { type: "radio", name: `${container.id}-${i}`, checked });
      input.addEventListener("change", () => {
        codes[i] = code;
        onPick();
      });
      return label.appendChild(make("span"));
    });
    const show = () => {
      legend.textContent = name === "label" ? say("whichClass") : name.replaceAll("_", " ");
      choices.forEach((code, choice) => {
        words[choice].textContent = code === null ? say("anyClass") : classes[code];
      });
    };
    redraws.push(show);
    show();
  });
}

// In a grid of buttons, Tab reaches one button, and the arrow keys lead from there to the others.
function moveByArrows(grid) {
  grid.addEventListener("keydown", (event) => {
    const buttons = [...grid.querySelectorAll("button")];
    const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const to = buttons[buttons.indexOf(document.activeElement) + steps[event.key]];
    if (!to) return;
    event.preventDefault();
    for (const button of buttons) button.tabIndex = button === to ? 0 : -1;
    to.focus();
  });
}

function svg(parent, name, attributes, text = "") {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text) element.textContent = text;
  return parent.appendChild(element);
}

// An empty chart with its axes. Ticks are [value, text]. The x and y that it returns turn values
// into pixels.
function chart(container, { label, height, xRange, yRange, xTicks, yTicks, xName, yName }) {
  const width = Math.max(container.clientWidth, 260);
  const [left, right, top, bottom] = [56, 24, 24, 42];
  const x = (value) =>
    left + ((value - xRange[0]) / (xRange[1] - xRange[0])) * (width - left - right);
  const y = (value) =>
    height - bottom - ((value - yRange[0]) / (yRange[1] - yRange[0])) * (height - top - bottom);
  const root = document.createElementNS(SVG, "svg");
  container.replaceChildren(root);
  const box = { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label };
  for (const [key, value] of Object.entries(box)) root.setAttribute(key, value);
  for (const [value, text] of yTicks) {
    svg(root, "line", { class: "rule", x1: left, x2: width - right, y1: y(value), y2: y(value) });
    svg(root, "text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, text);
  }
  for (const [value, text] of xTicks) {
    svg(root, "text", { x: x(value), y: height - bottom + 17, "text-anchor": "middle" }, text);
  }
  const middle = (left + width - right) / 2;
  svg(root, "text", { class: "name", x: middle, y: height - 5, "text-anchor": "middle" }, xName);
  const turned = `translate(11 ${(height - bottom + top) / 2}) rotate(-90)`;
  svg(root, "text", { class: "name", transform: turned, "text-anchor": "middle" }, yName);
  return { root, x, y, left, right: width - right, top, bottom: height - bottom };
}

// About `about` round values within a range.
function ticks(low, high, about) {
  const raw = (high - low) / about || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= raw * 0.999);
  const values = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) values.push(i * step || 0);
  return values;
}

// A function that has `draw` called before the next frame, once for all calls until then.
function atNextFrame(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
}
