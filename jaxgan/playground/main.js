// The beginning: the language, the teaser, then all parts once the networks are unpacked.

function startTeaser() {
  let ten;

  function fresh() {
    const isFake = Array.from({ length: 10 }, (_, i) => i % 2 === 0).sort(() => Math.random() - 0.5);
    const [real, fake] = [pickReal(5).images, makeFresh(5).images];
    ten = isFake.map((made) => ({ isFake: made, image: (made ? fake : real).pop() }));
    byId("teaser-tell").setAttribute("aria-pressed", "false");
    show();
  }

  function show() {
    const isTold = byId("teaser-tell").getAttribute("aria-pressed") === "true";
    byId("teaser").replaceChildren(...ten.map(({ isFake, image }, i) => {
      const truth = say(isFake ? "fake" : "real");
      const label = say(isTold ? "revealedLabel" : "hiddenLabel", { number: i + 1, word: truth });
      const element = cell(image, label, [make("span", "belief", isTold ? truth : "?")]);
      if (isTold && isFake) element.classList.add("fake");
      return element;
    }));
  }

  byId("teaser-fresh").addEventListener("click", fresh);
  byId("teaser-tell").addEventListener("click", (event) => {
    const pressed = event.currentTarget.getAttribute("aria-pressed") === "true";
    event.currentTarget.setAttribute("aria-pressed", String(!pressed));
    show();
  });
  fresh();
  redraws.push(show);
}

async function start() {
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => setLanguage(button.dataset.language));
  }
  const footer = document.querySelector("footer [data-t]");
  if (FACTS.noun !== "digit") footer.dataset.t = "footerOther";
  byId("critic").hidden = !["wasserstein", "hinge"].includes(FACTS.loss);
  for (const element of document.querySelectorAll(".told")) {
    element.hidden = !FACTS.attributes.length;
  }
  byId("averaged").hidden = !FACTS.isNormalised;
  setLanguage(language);
  const loading = byId("loading");
  if (!window.DecompressionStream) {
    loading.dataset.t = "tooOld";
    loading.textContent = say("tooOld");
    return;
  }
  try {
    await unpack();
  } catch (error) {
    loading.dataset.t = "broken";
    loading.textContent = say("broken");
    throw error;
  }
  loading.remove();
  for (const begin of [startTeaser, startCounterfeiter, startPad, startGame, startStory, startPolice]) begin();
  document.body.classList.add("ready");
}

start();
