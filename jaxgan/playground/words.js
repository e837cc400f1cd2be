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
      "Hai mạng nơ-ron đấu với nhau. Kẻ làm giả vẽ ra {digits} giả, cảnh sát phân biệt thật giả, " +
      "và bên này giỏi lên thì bên kia cũng giỏi theo. Cả hai ở ngay trong trang này. Mời bạn chơi thử.",
    teaser: "Mười {digits}. Trong đó có những cái chưa ai viết bao giờ.",
    teaserTell: "Cái nào là giả?",
    teaserFresh: "Mười cái khác",
    loading: "Đang giải nén hai mạng …",
    tooOld: "Trình duyệt này quá cũ nên không giải nén được hai mạng. Trình duyệt đời mới nào cũng làm được.",
    broken: "Không đọc được hai mạng trong trang này: tệp đã bị hỏng.",
    critic:
      "Cảnh sát ở đây được huấn luyện với hàm mất mát {loss}: họ chấm điểm chứ không đưa ra xác suất. " +
      "Xác suất hiện trên trang là sigmoid của điểm.",
    counterfeiter: "Kẻ làm giả",
    counterfeiterAbout:
      "Bộ sinh biến các số ngẫu nhiên thành ảnh. Số ngẫu nhiên khác thì ra {digit} khác: nó không hề " +
      "lưu hay chép lại cái nào.",
    freshTitle: "Vừa ra lò",
    fresh: "Làm mẻ mới",
    whichClass: "{digit} nào",
    anyClass: "bất kỳ",
    freshHint:
      "Dưới mỗi {digit} là xác suất nó là thật, theo cảnh sát (✓ lọt, ✗ bị bắt). Hãy chọn hai cái.",
    bigTitle: "Nắn theo ý bạn",
    slidersHint: "Các số ngẫu nhiên có {size} chiều. Ảnh thay đổi nhiều nhất theo những hướng này:",
    slider: "Hướng {number}",
    asDrawn: "Như ban đầu",
    walkTitle: "Đi từ ① đến ②",
    police: "Cảnh sát",
    policeAbout:
      "Bộ phân biệt nhìn một ảnh rồi cho biết xác suất ảnh đó là thật. Ở mức 1/2, nó không phân biệt " +
      "nổi: đó là điều kẻ làm giả nhắm tới. ✓ là lọt, ✗ là bị bắt.",
    policeTold:
      "Cảnh sát ở đây được báo trước mỗi ảnh phải là gì: ảnh thật được xét theo nhãn của chính nó, " +
      "ảnh giả theo nhãn mà kẻ làm giả được yêu cầu.",
    policeAveraged:
      "Khi huấn luyện, mỗi ảnh được chuẩn hoá theo các ảnh xét cùng lúc, toàn thật hoặc toàn giả; ở đây " +
      "thì theo trung bình của cả hai loại, nên cảnh sát có thể khắt khe hoặc dễ dãi hơn khi ấy.",
    realTitle: "Thật, lấy từ {dataset}",
    fakeTitle: "Giả, vừa làm xong",
    others: "Loạt khác",
    sort: "Xếp theo xác suất",
    crowdTitle: "Cả {count} ảnh thật và {count} ảnh giả",
    crowdWait: "Đang xét …",
    crowdText:
      "Cảnh sát tin {real} trên {count} {digits} thật và bị lừa bởi {fake} trên {count} cái giả. Họ " +
      "đoán đúng {right}; tung đồng xu thì đúng một nửa.",
    crowdAxis: "xác suất là thật, theo cảnh sát",
    crowdLabel: "Biểu đồ xác suất theo cảnh sát: {digits} thật hướng lên, giả hướng xuống.",
    howMany: "số lượng",
    realOnes: "ảnh thật",
    fakeOnes: "ảnh giả",
    you: "Bạn",
    youAbout: "Hãy tự tay làm giả, rồi vào vai cảnh sát xem mắt bạn tinh đến đâu.",
    padTitle: "Vẽ một {digit}",
    padHint:
      "Dùng chuột hoặc ngón tay; nếu dùng bàn phím, phím mũi tên di chuyển bút, phím cách hạ hoặc nhấc " +
      "bút. Hình vẽ được căn giữa và co giãn như ảnh của {dataset}.",
    padTold: "Cảnh sát ở đây được báo trước ảnh phải là gì: hãy cho biết bạn vẽ {digit} nào.",
    taken: "Được coi là: {name}",
    padLabel: "Bảng vẽ",
    seen: "Cảnh sát nhìn thấy",
    undo: "Bỏ nét cuối",
    clear: "Xoá hết",
    padEmpty: "Bạn cứ vẽ, sau mỗi nét cảnh sát lại xét.",
    gameTitle: "Bạn đấu với cảnh sát",
    gameHint: "Mười ảnh. Ảnh nào thật? Phím tắt: R là thật, F là giả, Enter là tiếp.",
    gameImage: "Ảnh cần xét",
    turn: "Ảnh {number} trên 10",
    turnOfClass: "Ảnh {number} trên 10, nhãn {name}",
    sayReal: "Thật",
    sayFake: "Giả",
    next: "Tiếp",
    again: "Chơi lại",
    told: "Đây là ảnh {truth}. Bạn: {you}. Cảnh sát bảo {percent} là thật: {police}.",
    ask: "Thật hay giả?",
    rightWord: "đúng",
    wrongWord: "sai",
    won: "Bạn thắng {you}–{police}!",
    lost: "Cảnh sát thắng {police}–{you}.",
    drawn: "Hoà, mỗi bên {you} điểm.",
    games: "Các ván đã chơi: bạn thắng {you}, cảnh sát thắng {police}, hoà {drawn}.",
    story: "Câu chuyện",
    storyAbout:
      "Hai bên đã học thế nào. Kéo thanh trượt để xem lại quá trình huấn luyện: vẫn những số ngẫu nhiên " +
      "ấy qua từng epoch, và hai bên đánh giá nhau ra sao.",
    noStory: "Lịch sử huấn luyện của cặp mạng này không được lưu lại nên ở đây không có chuyện để kể.",
    play: "Chạy",
    pause: "Tạm dừng",
    epoch: "Epoch {epoch} trên {last}",
    epochWord: "epoch",
    framesTitle: "Vẫn {numbers} bộ số ngẫu nhiên ấy, hết epoch này đến epoch khác",
    framesHint: "Mỗi ô là một {digit} dần dần thành hình.",
    framesOfClasses: "Mỗi cột ứng với một lớp được yêu cầu, mỗi hàng dùng chung một bộ số ngẫu nhiên.",
    noFrames: "Lần huấn luyện này không lưu ảnh mẫu.",
    noCurves: "Lần huấn luyện này không lưu số đo.",
    frameLabel: "{count} {digits} được sinh ra ở epoch {epoch}",
    beliefsTitle: "Cảnh sát nghĩ gì",
    lossesTitle: "Hàm mất mát của hai bên",
    equilibrium: "1/2: không phân biệt nổi",
    probabilityAxis: "xác suất",
    lossAxis: "mất mát",
    numbers: "Epoch {epoch}: D(x) = {d_real}, D(G(z)) = {d_fake}; mất mát của D {discriminator_loss}, của G {generator_loss}.",
    atStart: "Trước bước đầu tiên chưa đo được gì.",
    beliefsLabel: "D(x) và D(G(z)) theo epoch, kèm vạch ngang ở mức một phần hai",
    lossesLabel: "Hàm mất mát của bộ phân biệt và bộ sinh theo epoch",
    real: "thật",
    fake: "giả",
    verdict: "Cảnh sát: “{word}” ({percent} thật)",
    imageLabel: "{digit} {number}: {percent} thật",
    classLabel: "{digit} {number} ({name}): {percent} thật",
    revealedLabel: "{digit} {number}: {word}",
    hiddenLabel: "{digit} {number}",
    bigLabel: "{digit} đã chọn",
    footer:
      "Cả hai mạng chạy ngay trong trang này, bằng JavaScript thuần; không dữ liệu nào bị gửi đi. Nguồn " +
      "{digits} thật: MNIST của Y. LeCun và C. Cortes, CC BY-SA 3.0.",
    footerOther: "Cả hai mạng chạy ngay trong trang này, bằng JavaScript thuần; không dữ liệu nào bị gửi đi.",
    fromRun: "Tạo bằng jaxgan từ",
  },
};

const FACTS = JSON.parse(document.getElementById("facts").textContent);
let language = (navigator.language || "en").toLowerCase().startsWith("vi") ? "vi" : "en";
// Functions that draw again what holds words, called after the language has changed.
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
