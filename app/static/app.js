// The page: four tabs over the API. Nothing comes from elsewhere.
import {openMicrophone, pcm, spectrogram, wav} from "./sound.js";
import {TEXTS} from "./texts.js";

const COLORS = ["#1f77b4", "#e8590c", "#2b8a3e", "#9c36b5", "#c92a2a", "#0b7285", "#5c940d", "#a61e4d"];
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const recordings = new Map();   // of each input: the File to send
const redraws = new Map();      // of each tab: draws its result again, for another language
const running = new Map();      // of each tab: the AbortController of what is computed
const saved = localStorage.getItem("language");
let language = Object.hasOwn(TEXTS, saved) ? saved : navigator.language.startsWith("zh") ? "zh" : "en";

const translate = (name) => TEXTS[language][name] ?? name;

/** make("p.note", {title: "x"}, child, ...) */
function make(kind, properties = {}, ...children) {
  const [tag, ...classes] = kind.split(".");
  const element = Object.assign(document.createElement(tag), properties);
  element.classList.add(...classes);
  element.append(...children);
  return element;
}

function applyLanguage() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = translate("title");
  for (const element of all("[data-text]")) element.textContent = translate(element.dataset.text);
  document.getElementById("language").textContent = translate("language");
  for (const draw of redraws.values()) draw();
}

function openTab(name) {
  for (const tab of all("[role=tab]")) tab.setAttribute("aria-selected", tab.getAttribute("aria-controls") === name);
  for (const panel of all("[role=tabpanel]")) panel.hidden = panel.id !== name;
  history.replaceState(null, "", `#${name}`);
}

function status(panel, text, isError = false) {
  const line = panel.querySelector(".status");
  line.textContent = text;
  line.classList.toggle("error", isError);
}

/** Shows elements as the answer of a tab. What the former have held in memory is free. */
function showResult(panel, ...elements) {
  const result = panel.querySelector(".result");
  for (const player of all("audio", result)) URL.revokeObjectURL(player.src);
  result.replaceChildren(...elements);
}

/** Removes the answer of a tab; one that is still computed will not come. */
function forget(panel) {
  running.get(panel)?.abort();
  redraws.delete(panel);
  showResult(panel);
  status(panel, "");
}

const microphoneError = (error) =>
  translate("microphone") + (window.isSecureContext ? error.message : translate("insecure"));

/** A file, the microphone or a sample; a player and a spectrogram. */
function setUpInput(box) {
  const panel = box.closest("section");
  const player = make("audio", {controls: true, hidden: true}), canvas = make("canvas", {hidden: true});
  const file = make("input", {type: "file", accept: "audio/*,video/mp4,.flac,.m4a", hidden: true});
  const open = make("button", {type: "button", onclick: () => file.click()});
  const title = make("strong"), label = make("span");
  const record = make("button", {type: "button"});
  const row = make("div.row", {}, open, record);
  let microphone = null, blocks = [];
  open.dataset.text = "open";
  record.dataset.text = "record";
  title.dataset.text = box.dataset.name;

  function choose(blob, name) {
    forget(panel);
    recordings.set(box, new File([blob], name, {type: blob.type}));
    URL.revokeObjectURL(player.src);
    player.src = URL.createObjectURL(blob);
    player.hidden = false;
    label.textContent = name;
    return spectrogram(canvas, blob);
  }

  file.onchange = () => file.files.length && choose(file.files[0], file.files[0].name);
  record.onclick = async () => {
    record.disabled = true;
    try {
      if (microphone) {
        const {rate, stop} = microphone;
        microphone = null;
        await stop();
        file.value = "";
        choose(wav(blocks, rate), "microphone.wav");
      } else {
        blocks = [];
        microphone = await openMicrophone((samples) => blocks.push(samples));
      }
    } catch (error) {
      status(panel, microphoneError(error), true);
    }
    record.disabled = false;
    record.dataset.text = microphone ? "stop" : "record";
    record.classList.toggle("recording", Boolean(microphone));
    record.textContent = translate(record.dataset.text);
  };
  for (const name of box.dataset.samples.split(" ")) {
    row.append(make("button", {type: "button", textContent: name, onclick: async () => {
      file.value = "";
      await choose(await (await fetch(`/samples/${name}`)).blob(), name);
    }}));
  }
  box.append(title, " ", label, file, row, player, canvas);
}

/** Sends the recordings of a tab and shows what comes back. */
async function compute(panel) {
  const form = new FormData(), inputs = all(".input", panel), button = panel.querySelector(".go");
  for (const box of inputs) {
    if (!recordings.has(box)) return status(panel, translate("none"), true);
    form.append(box.dataset.name, recordings.get(box));
  }
  forget(panel);
  const ending = new AbortController(), started = performance.now();
  const elapsed = () => ((performance.now() - started) / 1000).toFixed(1);
  const ticking = setInterval(() =>
    status(panel, `${translate("working")} … ${elapsed()} ${translate("seconds")}`), 100);
  button.disabled = true;
  running.set(panel, ending);
  let line;
  try {
    for (const file of panel.querySelector("#enrol ~ input")?.files ?? []) form.append("enrol", file);
    const count = panel.id === "meeting" && document.getElementById("speakers").value;
    const answer = await fetch(`/api/${panel.id}${count ? `?num_speakers=${encodeURIComponent(count)}` : ""}`,
      {method: "POST", body: form, signal: ending.signal});
    const body = await answer.json();
    if (answer.ok) {
      const seconds = elapsed();
      redraws.set(panel, () => {
        showResult(panel, ...DRAW[panel.id](body, panel));
        status(panel, `${translate("done")} ${seconds} ${translate("seconds")}`);
      });
    } else {
      line = body.error;
    }
  } catch {
    line = translate("failed");
  }
  clearInterval(ticking);
  button.disabled = false;
  if (ending.signal.aborted) return status(panel, "");      // another recording was chosen
  if (redraws.has(panel)) redraws.get(panel)();
  else status(panel, line, true);
}

const DRAW = {
  verify({score, threshold, same, llr}) {
    const verdict = make("p.verdict", {textContent: translate(same ? "same" : "different")});
    const meter = make("meter", {min: -1, max: 1, value: score, title: `${translate("score")} ${score.toFixed(3)}`});
    const numbers = make("p", {textContent:
      `${translate("score")} ${score.toFixed(3)}, ${translate("threshold")} ${threshold.toFixed(3)}`});
    if (llr === null) return [verdict, meter, numbers, make("p.status", {textContent: translate("uncalibrated")})];
    const times = Math.exp(Math.min(20, Math.abs(llr))).toPrecision(2);
    const likely = `${Number(times)} ${translate(llr >= 0 ? "likely" : "unlikely")}`;
    return [verdict, meter, numbers, make("p", {textContent: `${translate("llr")} ${llr.toFixed(2)}: ${likely}`})];
  },

  separate({voices, levels, audible}) {
    return voices.map((voice, i) => {
      const level = `${levels[i].toFixed(1)} dB${audible[i] ? "" : `, ${translate("silent")}`} `;
      const blob = new Blob([Uint8Array.from(atob(voice), (letter) => letter.charCodeAt(0))], {type: "audio/wav"});
      const canvas = make("canvas"), address = URL.createObjectURL(blob);
      spectrogram(canvas, blob);
      return make("div.voice", {}, make("strong", {textContent: `${translate("voice")} ${i + 1}`}), ` ${level}`,
        make("a", {href: address, download: `voice${i + 1}.wav`, textContent: translate("download")}),
        make("audio", {controls: true, src: address}), canvas);
    });
  },

  transcribe({text, words}, panel) {
    const player = panel.querySelector(".input audio");
    const list = words.map(({text: word, start}) => make("span", {onclick: () => play(player, start)}, word,
      make("small", {textContent: start.toFixed(2)})));
    return [make("p.verdict", {textContent: text || translate("nothing")}), make("p.words", {}, ...list)];
  },

  meeting({turns, speakers, seconds, overlap_seconds: overlap}, panel) {
    if (!turns.length) return [make("p", {textContent: translate("nobody")})];
    const player = panel.querySelector(".input audio"), canvas = make("canvas.lanes");
    drawLanes(canvas, turns, speakers, seconds);
    const list = turns.map(({start, end, speaker, text}) => make("li", {}, make("button", {
      type: "button", onclick: () => play(player, start, end),
      style: `border-color: ${COLORS[speakers.indexOf(speaker) % COLORS.length]}`},
    make("small", {textContent: `${start.toFixed(2)}–${end.toFixed(2)} ${speaker} `}), text)));
    const note = `${translate("overlap")}: ${overlap.toFixed(1)} ${translate("seconds")}`;
    return [canvas, make("p.status", {textContent: note}), make("ol.turns", {}, ...list)];
  },
};

function play(player, start, end = Infinity) {
  player.currentTime = start;
  player.ontimeupdate = () => player.currentTime >= end && player.pause();
  player.play();
}

/** A lane for each speaker; yellow where two speak at once. */
function drawLanes(canvas, turns, speakers, seconds) {
  const lane = 28, width = 1000, context = canvas.getContext("2d");
  canvas.width = width;
  canvas.height = lane * speakers.length;
  const x = (time) => time / seconds * width;
  context.fillStyle = "#ffd43b88";
  for (const [i, turn] of turns.entries()) {
    for (const other of turns.slice(i + 1)) {
      const start = Math.max(turn.start, other.start), end = Math.min(turn.end, other.end);
      if (end > start) context.fillRect(x(start), 0, x(end) - x(start), canvas.height);
    }
  }
  for (const {start, end, speaker} of turns) {
    const number = speakers.indexOf(speaker);
    context.fillStyle = COLORS[number % COLORS.length];
    context.fillRect(x(start), lane * number + 6, Math.max(1, x(end) - x(start)), lane - 12);
  }
}

/** The text while somebody speaks. */
function setUpLiveText() {
  const button = document.getElementById("speak"), panel = document.getElementById("transcribe");
  const [final, partial] = all("#live span");
  let socket = null, microphone = null;

  function show(isOn) {
    button.dataset.text = isOn ? "stop" : "speak";
    button.classList.toggle("recording", isOn);
    button.textContent = translate(button.dataset.text);
    button.disabled = false;
  }

  async function stopMicrophone() {
    await microphone?.stop();
    microphone = null;
  }

  button.onclick = async () => {
    button.disabled = true;
    if (microphone) {
      await stopMicrophone();
      socket.send("end");
      return;
    }
    final.textContent = partial.textContent = "";
    status(panel, "");
    const unsent = [];
    try {
      microphone = await openMicrophone((samples) => {
        if (socket?.readyState === WebSocket.OPEN) socket.send(pcm(samples));
        else unsent.push(samples);
      });
    } catch (error) {
      status(panel, microphoneError(error), true);
      return show(false);
    }
    socket = new WebSocket(`${location.origin.replace("http", "ws")}/api/live?rate=${microphone.rate}`);
    let ended = false;
    socket.onopen = () => {
      unsent.splice(0).forEach((samples) => socket.send(pcm(samples)));
      show(true);
    };
    socket.onmessage = ({data}) => {
      const update = JSON.parse(data);
      if (update.error || update.end) ended = true;
      if (update.error) return status(panel, update.error, true);
      final.textContent += update.final;
      partial.textContent = update.partial;
    };
    socket.onclose = async () => {
      if (!ended) status(panel, translate("ended"), true);
      await stopMicrophone();
      show(false);
    };
  };
}

/** Voices of a meeting whose names are known: NAME.wav. */
function setUpEnrolment() {
  const file = document.querySelector("#enrol ~ input");
  document.getElementById("enrol").onclick = () => file.click();
  file.onchange = () => {
    const names = [...file.files].map(({name}) => name.replace(/\.\w+$/, ""));
    document.getElementById("enrolled").textContent = names.join(", ");
  };
}

for (const box of all(".input")) setUpInput(box);
setUpEnrolment();
for (const panel of all("section")) panel.querySelector(".go").onclick = () => compute(panel);
for (const tab of all("[role=tab]")) tab.onclick = () => openTab(tab.getAttribute("aria-controls"));
document.getElementById("language").onclick = () => {
  language = language === "en" ? "zh" : "en";
  localStorage.setItem("language", language);
  applyLanguage();
};
setUpLiveText();
applyLanguage();
openTab(all("[role=tabpanel]").find(({id}) => `#${id}` === location.hash)?.id ?? "verify");
