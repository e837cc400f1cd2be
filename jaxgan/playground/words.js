// What the page says, in English and Vietnamese. {name} stands for a value; {digit} and {digits}
// for what the images show.

const WORDS = {
  en: {
    nouns: { digit: ["digit", "digits"], image: ["image", "images"] },
    skip: "Skip to the counterfeiter",
    parts: "Parts of this page",
    title: "Fool the police",
    lead:
      "Two neural networks played against each other. The counterfeiter makes up {digits}, the " +
      "police tell them from real ones, and each got better because the other did. Both are in " +
      "this page. Play with them.",
    teaser: "Ten {digits}. Some of them nobody ever wrote.",
    teaserTell: "Which are fake?",
    teaserFresh: "Ten others",
    loading: "Unpacking both networks …",
    tooOld: "This browser cannot unpack the networks: it is too old. Any current one can.",
    broken: "The networks in this page cannot be read: the file is damaged.",
    critic:
      "These police were trained with the {loss} loss: they give points, not probabilities. What " +
      "is shown as a probability is the sigmoid of the points.",
    counterfeiter: "The counterfeiter",
    counterfeiterAbout:
      "The generator turns random numbers into an image. New numbers, new {digit}: it never stores " +
      "or copies one.",
    freshTitle: "Fresh from the press",
    fresh: "Fresh {digits}",
    whichClass: "Which {digit}",
    anyClass: "any",
    freshHint:
      "Below each: how probable the police find it that it is real (✓ passes, ✗ is caught). Pick two.",
    bigTitle: "Bend it",
    slidersHint: "The random numbers have {size} dimensions. These change the image most:",
    slider: "Direction {number}",
    asDrawn: "As it was",
    walkTitle: "Walk from ① to ②",
    police: "The police",
    policeAbout:
      "The discriminator looks at an image and says how probable it is that the image is real. At " +
      "1/2 it cannot tell: that is what the counterfeiter is after. ✓ passes for real, ✗ does not.",
    policeTold:
      "These police are told what each image is to show: a real one is judged with its own label, a " +
      "fake with the one that it was made for.",
    policeAveraged:
      "While they learnt, each image was normalised by those judged together with it, all real or all " +
      "fake; here it is by averages over both, so they may be stricter or more lenient than then.",
    realTitle: "Real, from {dataset}",
    fakeTitle: "Fake, made just now",
    others: "Other {digits}",
    sort: "In order of belief",
    crowdTitle: "All {count} real ones against {count} fakes",
    crowdWait: "Judging …",
    crowdText:
      "The police believe {real} of {count} real {digits} and fall for {fake} of {count} fakes. " +
      "They are right {right} of the time; a coin is right half of the time.",
    crowdAxis: "how probably real, say the police",
    crowdLabel: "Histogram of beliefs: real {digits} upwards, fakes downwards.",
    howMany: "how many",
    realOnes: "real ones",
    fakeOnes: "fakes",
    you: "You",
    youAbout: "Be the counterfeiter with your own hand, then the police with your own eyes.",
    padTitle: "Draw a {digit}",
    padHint:
      "With mouse or finger; by keyboard, the arrows move the pen and the space bar puts it down or " +
      "lifts it. It is centred and scaled as {dataset} is.",
    padTold: "These police are told what an image is to show: say which {digit} you draw.",
    taken: "Taken as: {name}",
    padLabel: "Drawing pad",
    seen: "What the police see",
    undo: "Undo",
    clear: "Clear",
    padEmpty: "Draw, and they judge with every stroke.",
    gameTitle: "You against the police",
    gameHint: "Ten images. Which are real? Keys: R for real, F for fake, Enter for the next.",
    gameImage: "The image to judge",
    turn: "Image {number} of 10",
    turnOfClass: "Image {number} of 10, label {name}",
    sayReal: "Real",
    sayFake: "Fake",
    next: "Next",
    again: "Play again",
    told: "It was {truth}. You: {you}. The police said {percent} real: {police}.",
    ask: "Real or fake?",
    rightWord: "right",
    wrongWord: "wrong",
    won: "You win, {you} to {police}!",
    lost: "The police win, {police} to {you}.",
    drawn: "A draw, {you} each.",
    games: "Games so far: you {you}, police {police}, drawn {drawn}.",
    story: "The story",
    storyAbout:
      "How they learnt. Drag through the training: the same random numbers at every epoch, and what " +
      "the two thought of each other.",
    noStory: "This pair kept no history of its training, so there is no story to tell here.",
    play: "Play",
    pause: "Pause",
    epoch: "Epoch {epoch} of {last}",
    epochWord: "epoch",
    framesTitle: "The same {numbers} random numbers, again and again",
    framesHint: "Each place in the sheet is one {digit} growing up.",
    framesOfClasses: "Each column is asked for one class, each row has the same random numbers.",
    noFrames: "This run kept no samples.",
    noCurves: "This run kept no metrics.",
    frameLabel: "{count} generated {digits} at epoch {epoch}",
    beliefsTitle: "What the police believe",
    lossesTitle: "The losses of both",
    equilibrium: "1/2: cannot tell",
    probabilityAxis: "probability",
    lossAxis: "loss",
    numbers: "Epoch {epoch}: D(x) = {d_real}, D(G(z)) = {d_fake}; loss of D {discriminator_loss}, of G {generator_loss}.",
    atStart: "Before the first step nothing is measured yet.",
    beliefsLabel: "D(x) and D(G(z)) over the epochs, with a line at one half",
    lossesLabel: "Losses of the discriminator and the generator over the epochs",
    real: "real",
    fake: "fake",
    verdict: "The police: “{word}” ({percent} real)",
    imageLabel: "{digit} {number}: {percent} real",
    classLabel: "{digit} {number} ({name}): {percent} real",
    revealedLabel: "{digit} {number}: {word}",
    hiddenLabel: "{digit} {number}",
    bigLabel: "The picked {digit}",
    footer:
      "Both networks run in this page, in plain JavaScript; nothing is sent anywhere. Real {digits}: " +
      "MNIST by Y. LeCun and C. Cortes, CC BY-SA 3.0.",
    footerOther: "Both networks run in this page, in plain JavaScript; nothing is sent anywhere.",
    fromRun: "Made with jaxgan from",
  },
  vi: {
    nouns: { digit: ["chữ số", "chữ số"], image: ["ảnh", "ảnh"] },
    skip: "Tới phần kẻ làm giả",
    parts: "Các phần của trang",
    title: "Qua mặt cảnh sát",
    lead:
      "Hai mạng nơ-ron đấu với nhau. Kẻ làm giả bịa ra {digits}, cảnh sát phân biệt thật với giả, " +
      "và bên này giỏi lên vì bên kia giỏi lên. Cả hai đang ở ngay trong trang này. Mời bạn chơi.",
    teaser: "Mười {digits}. Có những cái chưa từng ai viết ra.",
    teaserTell: "Cái nào là giả?",
    teaserFresh: "Mười cái khác",
    loading: "Đang mở gói hai mạng …",
    tooOld: "Trình duyệt này quá cũ nên không mở gói được hai mạng. Mọi trình duyệt hiện nay đều mở được.",
    broken: "Không đọc được hai mạng trong trang này: tệp đã bị hỏng.",
    critic:
      "Cảnh sát này được huấn luyện với hàm mất mát {loss}: họ cho điểm chứ không cho xác suất. Con " +
      "số hiện dưới dạng xác suất là sigmoid của điểm.",
    counterfeiter: "Kẻ làm giả",
    counterfeiterAbout:
      "Bộ sinh biến các số ngẫu nhiên thành ảnh. Số mới thì {digit} mới: nó không hề lưu hay chép " +
      "lại cái nào.",
    freshTitle: "Vừa ra lò",
    fresh: "In loạt mới",
    whichClass: "{digit} nào",
    anyClass: "bất kỳ",
    freshHint:
      "Dưới mỗi {digit}: cảnh sát cho rằng nó thật với xác suất bao nhiêu (✓ lọt, ✗ bị bắt). Hãy chọn hai cái.",
    bigTitle: "Uốn nắn",
    slidersHint: "Các số ngẫu nhiên có {size} chiều. Những hướng này làm ảnh đổi nhiều nhất:",
    slider: "Hướng {number}",
    asDrawn: "Như ban đầu",
    walkTitle: "Đi từ ① đến ②",
    police: "Cảnh sát",
    policeAbout:
      "Bộ phân biệt nhìn một ảnh rồi cho biết xác suất ảnh đó là thật. Ở mức 1/2, nó không phân biệt " +
      "nổi: đó là điều kẻ làm giả nhắm tới. ✓ là lọt, ✗ là bị bắt.",
    policeTold:
      "Cảnh sát này được cho biết mỗi ảnh phải là gì: ảnh thật được xét theo nhãn của chính nó, ảnh " +
      "giả theo nhãn mà nó được làm ra.",
    policeAveraged:
      "Khi học, mỗi ảnh được chuẩn hoá theo những ảnh xét cùng lúc, toàn thật hoặc toàn giả; ở đây thì " +
      "theo trung bình của cả hai, nên họ có thể khắt khe hay dễ dãi hơn lúc ấy.",
    realTitle: "Thật, từ {dataset}",
    fakeTitle: "Giả, vừa làm xong",
    others: "Loạt khác",
    sort: "Xếp theo độ tin",
    crowdTitle: "Tất cả {count} ảnh thật và {count} ảnh giả",
    crowdWait: "Đang xét …",
    crowdText:
      "Cảnh sát tin {real} trong {count} {digits} thật và mắc lừa {fake} trong {count} cái giả. Họ " +
      "đúng {right} số lần; tung đồng xu thì đúng một nửa.",
    crowdAxis: "xác suất là thật, theo cảnh sát",
    crowdLabel: "Biểu đồ độ tin: {digits} thật hướng lên, giả hướng xuống.",
    howMany: "số lượng",
    realOnes: "ảnh thật",
    fakeOnes: "ảnh giả",
    you: "Bạn",
    youAbout: "Hãy tự tay làm giả, rồi tự mắt làm cảnh sát.",
    padTitle: "Vẽ một {digit}",
    padHint:
      "Dùng chuột hoặc ngón tay; bằng bàn phím thì phím mũi tên di bút, phím cách hạ hoặc nhấc bút. " +
      "Hình được căn giữa và co giãn như {dataset}.",
    padTold: "Cảnh sát này được báo trước ảnh phải là gì: hãy chọn {digit} bạn vẽ.",
    taken: "Được coi là: {name}",
    padLabel: "Bảng vẽ",
    seen: "Cảnh sát thấy",
    undo: "Bỏ nét cuối",
    clear: "Xoá hết",
    padEmpty: "Bạn cứ vẽ, mỗi nét họ xét một lần.",
    gameTitle: "Bạn đấu với cảnh sát",
    gameHint: "Mười ảnh. Cái nào thật? Phím: R là thật, F là giả, Enter là tiếp.",
    gameImage: "Ảnh cần xét",
    turn: "Ảnh {number} trong 10",
    turnOfClass: "Ảnh {number} trong 10, nhãn {name}",
    sayReal: "Thật",
    sayFake: "Giả",
    next: "Tiếp",
    again: "Chơi lại",
    told: "Ảnh này là {truth}. Bạn: {you}. Cảnh sát nói {percent} thật: {police}.",
    ask: "Thật hay giả?",
    rightWord: "đúng",
    wrongWord: "sai",
    won: "Bạn thắng, {you}–{police}!",
    lost: "Cảnh sát thắng, {police}–{you}.",
    drawn: "Hoà, mỗi bên {you}.",
    games: "Các ván đã chơi: bạn thắng {you}, cảnh sát thắng {police}, hoà {drawn}.",
    story: "Câu chuyện",
    storyAbout:
      "Họ đã học thế nào. Kéo qua quá trình huấn luyện: cùng những số ngẫu nhiên ấy ở mỗi epoch, và " +
      "hai bên nghĩ gì về nhau.",
    noStory: "Cặp mạng này không giữ lại lịch sử huấn luyện nên không có chuyện để kể.",
    play: "Chạy",
    pause: "Dừng",
    epoch: "Epoch {epoch} trên {last}",
    epochWord: "epoch",
    framesTitle: "Vẫn {numbers} bộ số ngẫu nhiên ấy, lần này qua lần khác",
    framesHint: "Mỗi ô là một {digit} đang lớn dần.",
    framesOfClasses: "Mỗi cột được yêu cầu một lớp, mỗi hàng chung một bộ số ngẫu nhiên.",
    noFrames: "Lần huấn luyện này không giữ ảnh mẫu.",
    noCurves: "Lần huấn luyện này không giữ số đo.",
    frameLabel: "{count} {digits} sinh ra ở epoch {epoch}",
    beliefsTitle: "Cảnh sát tin gì",
    lossesTitle: "Mất mát của hai bên",
    equilibrium: "1/2: không phân biệt nổi",
    probabilityAxis: "xác suất",
    lossAxis: "mất mát",
    numbers: "Epoch {epoch}: D(x) = {d_real}, D(G(z)) = {d_fake}; mất mát của D {discriminator_loss}, của G {generator_loss}.",
    atStart: "Trước bước đầu tiên chưa có gì để đo.",
    beliefsLabel: "D(x) và D(G(z)) theo epoch, có vạch ở một phần hai",
    lossesLabel: "Mất mát của bộ phân biệt và bộ sinh theo epoch",
    real: "thật",
    fake: "giả",
    verdict: "Cảnh sát: “{word}” ({percent} thật)",
    imageLabel: "{digit} {number}: {percent} thật",
    classLabel: "{digit} {number} ({name}): {percent} thật",
    revealedLabel: "{digit} {number}: {word}",
    hiddenLabel: "{digit} {number}",
    bigLabel: "{digit} đã chọn",
    footer:
      "Cả hai mạng chạy ngay trong trang này, bằng JavaScript thuần; không gửi gì đi đâu. Các {digits} " +
      "thật: MNIST của Y. LeCun và C. Cortes, CC BY-SA 3.0.",
    footerOther: "Cả hai mạng chạy ngay trong trang này, bằng JavaScript thuần; không gửi gì đi đâu.",
    fromRun: "Làm bằng jaxgan từ",
  },
};

const FACTS = JSON.parse(document.getElementById("facts").textContent);
let language = (navigator.language || "en").toLowerCase().startsWith("vi") ? "vi" : "en";
// What to call after the language has changed, or the networks are there.
const redraws = [];

function say(key, values = {}) {
  const words = WORDS[language];
  const [digit, digits] = words.nouns[FACTS.noun];
  const all = { digit, digits, dataset: FACTS.dataset, ...values };
  const text = words[key].replace(/\{(\w+)\}/g, (_, name) => all[name]);
  return words[key].startsWith("{") ? text[0].toUpperCase() + text.slice(1) : text;
}

function percent(probability) {
  return new Intl.NumberFormat(language, { style: "percent" }).format(probability);
}

function decimals(number, digits = 2) {
  const form = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(language, form).format(number);
}

function setLanguage(chosen) {
  language = chosen;
  document.documentElement.lang = chosen;
  document.title = `${say("title")}: ${FACTS.run}`;
  const values = { count: REAL_COUNT, loss: FACTS.loss, size: LATENT_SIZE };
  if (FACTS.story) values.numbers = FACTS.story.latents;
  for (const element of document.querySelectorAll("[data-t]")) {
    element.textContent = say(element.dataset.t, values);
  }
  for (const element of document.querySelectorAll("[data-t-label]")) {
    element.setAttribute("aria-label", say(element.dataset.tLabel, values));
  }
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === chosen));
  }
  for (const redraw of redraws) redraw();
}
