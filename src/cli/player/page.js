// The page around the player: the list of assets and channels, controls, menus, statistics, links.

const $ = (id) => document.getElementById(id);
const stage = $("stage");
const video = stage.querySelector("video");
const player = new Player(video);
let assets = []; // what links name: an asset, or `live/` and a channel
let asset = null;

const ICONS = {
  play: '<path class="solid" d="M7 4.5v15l12-7.5z"/>',
  pause: '<path class="solid" d="M7 5h3v14H7zM14 5h3v14h-3z"/>',
  loud: '<path d="M4 9.5v5h3.5l5 4.5V5l-5 4.5zM16 8.5a5 5 0 0 1 0 7M18.5 6a9 9 0 0 1 0 12"/>',
  mute: '<path d="M4 9.5v5h3.5l5 4.5V5l-5 4.5zM16.5 9.5l5 5M21.5 9.5l-5 5"/>',
};

function icon(button, name, label) {
  if (button.dataset.icon === name) return;
  button.dataset.icon = name;
  button.innerHTML = `<svg class="icon" viewBox="0 0 24 24">${ICONS[name]}</svg>`;
  button.setAttribute("aria-label", label);
}

/** `1:02:03`, as long as `total` needs it to be. */
function clock(time, total = time) {
  if (!Number.isFinite(time)) return "–:––";
  const whole = Math.floor(Math.max(0, time));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n) => String(n).padStart(2, "0");
  return total >= 3600 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

function bits(perSecond) {
  if (!perSecond) return "–";
  return perSecond >= 1e6 ? `${(perSecond / 1e6).toFixed(1)} Mb/s` : `${Math.round(perSecond / 1e3)} kb/s`;
}

/** What people call it: the height of a 16:9 picture that is as wide, or the height if it is higher. */
function qualityName(rendition) {
  const rate = rendition.frameRate > 31 ? Math.round(rendition.frameRate) : "";
  return `${rendition.height}p${rate}`;
}

function describe(presentation) {
  const best = presentation.video.flatMap((set) => set.renditions).sort((a, b) => b.height - a.height)[0];
  const parts = [presentation.live ? "Live" : clock(presentation.duration)];
  if (best) parts.push(qualityName(best));
  if (!best) parts.push("audio only");
  if (presentation.audio.length > 1) parts.push(`${presentation.audio.length} audio languages`);
  if (presentation.text.length) parts.push("subtitles");
  return parts.join(" · ");
}

const isLive = (id) => id.startsWith("live/");
const nameOf = (id) => (isLive(id) ? id.slice(5) : id);

function manifests(id) {
  const path = `${isLive(id) ? "live" : "vod"}/${encodeURIComponent(nameOf(id))}/`;
  const base = new URL(path, document.baseURI).href.replace(/[#?].*$/, "");
  return { hls: `${base}index.m3u8`, dash: `${base}index.mpd`, thumbnails: `${base}thumbnails.vtt`, live: isLive(id) };
}

// The list of assets and channels.

async function loadNames(what) {
  const response = await fetch(`${what}.json`, { cache: "no-cache" });
  if (!response.ok) throw new Refused(response.url, response.status);
  return (await response.json())[what].map((one) => one.name);
}

async function loadAssets() {
  try {
    const [files, channels] = await Promise.all([loadNames("assets"), loadNames("channels")]);
    const names = [...files, ...channels.map((name) => `live/${name}`)];
    if (names.join("\n") !== assets.join("\n")) {
      assets = names;
      showAssets();
    }
    if (!asset && assets.length) route();
  } catch {
    if (!assets.length) {
      $("none").hidden = false;
      $("none").textContent = "The list of assets cannot be loaded.";
    }
  }
}

const details = new Map();
const visible = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    visible.unobserve(target);
    const { name } = target.dataset;
    if (!details.has(name)) {
      const { live, hls, dash } = manifests(name);
      const loaded = live ? loadChannel(hls) : loadPresentation(dash);
      details.set(name, loaded.then(describe, () => "cannot be read"));
    }
    details.get(name).then((text) => (target.querySelector("small").textContent = text));
  }
});

function showAssets() {
  $("count").textContent = assets.length || "";
  $("filter").hidden = assets.length < 9;
  const wanted = $("filter").value.trim().toLowerCase();
  const shown = assets.filter((name) => name.toLowerCase().includes(wanted));
  visible.disconnect();
  // A library may hold tens of thousands; nobody scrolls through more than a thousand.
  $("assets").replaceChildren(
    ...shown.slice(0, 1000).map((name) => {
      const item = document.createElement("li");
      const link = document.createElement("a");
      link.href = `#${encodeURIComponent(name)}`;
      link.dataset.name = name;
      link.setAttribute("aria-current", String(name === asset));
      link.append(document.createElement("strong"), document.createElement("small"));
      link.firstChild.textContent = nameOf(name);
      if (isLive(name)) link.firstChild.append(Object.assign(document.createElement("span"), { className: "badge", textContent: "LIVE" }));
      item.append(link);
      visible.observe(link);
      return item;
    }),
  );
  $("none").hidden = shown.length > 0;
  if (assets.length) $("none").textContent = "No asset has this in its name.";
  else {
    $("none").textContent = "The library is empty. Add something:";
    const code = document.createElement("code");
    code.textContent = "headwater import --library DIR --asset NAME FILE…";
    $("none").append(code);
  }
}

function route() {
  let name = assets[0];
  try {
    const wanted = decodeURIComponent(location.hash.slice(1));
    if (wanted) name = wanted;
  } catch {
    // A hash that is not ours: the first asset will do.
  }
  if (name && name !== asset) select(name, asset !== null);
}

function select(name, play) {
  asset = name;
  document.title = `${nameOf(name)} · Headwater`;
  $("title").textContent = nameOf(name);
  $("about").textContent = "";
  for (const link of $("assets").querySelectorAll("a")) link.setAttribute("aria-current", String(link.dataset.name === name));
  showLinks(name);
  open(play);
}

async function open(play) {
  $("failure").hidden = true;
  closeMenu();
  for (const id of ["captions", "audio", "quality", "live"]) $(id).hidden = true;
  hideHint();
  preview.use([]);
  await player.open(manifests(asset));
  if (play) video.play().catch(() => {});
}

player.addEventListener("opened", () => {
  const { presentation } = player;
  $("about").textContent = describe(presentation);
  $("quality").hidden = player.native || player.renditions.length < 2;
  $("audio").hidden = player.native || presentation.audio.length < 2;
  $("live").hidden = !presentation.live;
  $("captions").hidden = player.native || !presentation.text.length;
  loadThumbnails(presentation);
  update();
});

/** The MPD says whether there are any. Scrubbing works without. */
async function loadThumbnails(presentation) {
  if (!presentation.image?.length) return;
  const cues = await loadPreviews(manifests(asset).thumbnails).catch(() => []);
  if (player.presentation === presentation) preview.use(cues);
}

player.addEventListener("failure", ({ detail }) => {
  $("failure").hidden = false;
  $("failure").querySelector("p").textContent = detail;
});
$("failure").querySelector("button").addEventListener("click", () => open(true));

function showLinks(name) {
  const { hls, dash } = manifests(name);
  const rows = [
    ["HLS", hls, true],
    ["MPEG-DASH", dash, true],
    ["ffmpeg", `ffmpeg -i ${quoted(hls)} -c copy out.mp4`],
    ["curl", `curl -sS --compressed ${quoted(dash)}`],
  ];
  $("links").hidden = false;
  $("links").replaceChildren(
    ...rows.map(([label, text, link]) => {
      const row = document.createElement("div");
      const [caption, code, button] = ["span", "code", "button"].map((tag) => document.createElement(tag));
      caption.textContent = label;
      if (link) {
        const anchor = document.createElement("a");
        Object.assign(anchor, { href: text, textContent: text });
        code.append(anchor);
      } else code.textContent = text;
      code.title = text;
      button.textContent = "Copy";
      button.setAttribute("aria-label", `Copy the ${label} line`);
      button.addEventListener("click", async () => {
        button.textContent = (await copied(text)) ? "Copied" : "Press Ctrl+C";
        if (button.textContent !== "Copied") getSelection().selectAllChildren(code);
        setTimeout(() => (button.textContent = "Copy"), 1600);
      });
      row.append(caption, code, button);
      return row;
    }),
  );
}

/** The clipboard interface exists only in secure contexts: not on a plain HTTP address of the local network. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

function quoted(url) {
  return /^[\w:/.%-]+$/.test(url) ? url : `'${url.replaceAll("'", "%27")}'`;
}

// Controls.

const seek = $("seek");
const hint = seek.querySelector(".hint");
const preview = new Preview(hint.querySelector(".preview"));
let dragging = false;

function update() {
  const { start, end } = player.range();
  const duration = end - start;
  const time = dragging ? seek.at : video.currentTime;
  const part = (value) => (duration > 0 ? `${(100 * Math.min(Math.max(0, value - start), duration)) / duration}%` : "0");
  seek.querySelector(".played").style.width = part(time);
  seek.querySelector("b").style.left = part(time);
  const loaded = seek.querySelector(".loaded");
  for (let i = 0; i < video.buffered.length; i++) {
    if (video.buffered.start(i) > time + 0.2 || video.buffered.end(i) < time) continue;
    loaded.style.left = part(video.buffered.start(i));
    loaded.style.width = part(start + video.buffered.end(i) - Math.max(start, video.buffered.start(i)));
  }
  seek.setAttribute("aria-valuemax", Math.round(duration || 0));
  seek.setAttribute("aria-valuenow", Math.round(time - start));
  seek.setAttribute("aria-valuetext", position(time));
  $("time").textContent = position(time);
  $("live").classList.toggle("on", player.following);
  icon($("play"), video.paused ? "play" : "pause", video.paused ? "Play" : "Pause");
  const silent = video.muted || video.volume === 0;
  icon($("mute"), silent ? "mute" : "loud", silent ? "Unmute" : "Mute");
  $("volume").value = video.muted ? 0 : video.volume;
  $("big").hidden = !video.paused || dragging || !$("failure").hidden || video.currentTime > 0;
  $("wait").hidden = video.paused || video.readyState > 2 || video.ended || !$("failure").hidden;
  $("captions").classList.toggle("on", player.text !== null);
  showQuality();
  if (!$("stats").hidden) showStats();
}

/** Of a live channel: how far behind. */
function position(time) {
  const { live, duration } = player.presentation ?? {};
  if (live) return `${(player.latency + video.currentTime - time).toFixed(1)} s behind`;
  return `${clock(time, duration)} / ${clock(duration ?? video.duration)}`;
}

function showQuality() {
  const shown = player.stream("video")?.renditionAt(video.currentTime);
  const name = shown ? qualityName(shown) : "";
  $("quality").textContent = player.quality ? qualityName(player.quality) : `Auto ${name}`.trim();
}

function showStats() {
  const figures = player.figures();
  const { shown, audio } = figures;
  const rows = [
    ["Video", shown ? `${shown.width}×${shown.height} ${shown.codecs} ${bits(shown.bandwidth)}` : player.native ? "played by the browser" : "–"],
    ["Audio", audio ? `${audio.label} ${audio.renditions.at(-1).codecs} ${bits(audio.renditions.at(-1).bandwidth)}` : "–"],
    ["Buffer", `${figures.ahead.toFixed(1)} s`],
    ["Network", bits(figures.throughput)],
    ["Loaded", `${(figures.bytes / 1e6).toFixed(1)} MB`],
    ["Frames", `${figures.frames} shown, ${figures.dropped} dropped`],
    ["Stalls", String(figures.stalls)],
    ...(player.presentation?.live ? [["Latency", `${player.latency.toFixed(1)} s`]] : []),
  ];
  $("stats").replaceChildren(
    ...rows.flatMap(([term, value]) => {
      const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
      dt.textContent = term;
      dd.textContent = value;
      return [dt, dd];
    }),
  );
}

function toggle() {
  if (!video.paused) return video.pause();
  // Whoever has not begun to watch begins with what is on now.
  if (player.following) player.goLive();
  video.play().catch(() => {});
}

function jump(time) {
  const { start, end } = player.range();
  if (!(end > start)) return;
  const live = player.presentation?.live;
  player.following = Boolean(live) && time > end - player.presentation.delay;
  if (player.following) player.goLive();
  else video.currentTime = Math.min(Math.max(live ? start + 1 : 0, time), Math.max(0, end - 0.1));
}

function jumpTo(part) {
  const { start, end } = player.range();
  jump(start + part * (end - start));
}

function full() {
  if (document.fullscreenElement) document.exitFullscreen();
  else if (stage.requestFullscreen) stage.requestFullscreen().catch(() => {});
  else video.webkitEnterFullscreen?.();
}

for (const event of ["timeupdate", "progress", "play", "pause", "volumechange", "waiting", "playing", "ended", "seeked"]) {
  video.addEventListener(event, update);
}
setInterval(update, 250);
$("play").addEventListener("click", toggle);
$("big").addEventListener("click", toggle);
video.addEventListener("click", () => ($("menu").hidden ? toggle() : closeMenu()));
video.addEventListener("dblclick", full);
$("mute").addEventListener("click", () => (video.muted = !video.muted));
$("volume").addEventListener("input", ({ target }) => {
  video.volume = Number(target.value);
  video.muted = false;
});
$("live").addEventListener("click", () => {
  player.goLive();
  video.play().catch(() => {});
});
$("full").addEventListener("click", full);
$("figures").addEventListener("click", stats);

function stats() {
  $("stats").hidden = !$("stats").hidden;
  $("figures").classList.toggle("on", !$("stats").hidden);
  update();
}

function pointed(event) {
  const box = seek.getBoundingClientRect();
  const part = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
  const { start, end } = player.range();
  return start + part * ((end - start) || 0);
}

/** What is at a time, above its place on the seek bar; for good, or so many milliseconds. */
let hintTimer;
function showHint(time, milliseconds) {
  clearTimeout(hintTimer);
  const { start, end } = player.range();
  if (!(end > start)) return hideHint();
  hint.querySelector("output").textContent = player.presentation?.live ? `−${clock(end - time)}` : clock(time, end);
  // In a small player it leaves some of the picture to be seen.
  preview.show(time, stage.clientWidth * 0.36, stage.clientHeight * 0.4);
  seek.classList.add("hinting");
  // It stays within the bar.
  const [width, own] = [seek.clientWidth, hint.offsetWidth];
  const left = ((time - start) / (end - start)) * width - own / 2;
  hint.style.transform = `translateX(${Math.min(Math.max(left, 0), Math.max(0, width - own))}px)`;
  if (milliseconds) hintTimer = setTimeout(hideHint, milliseconds);
}

function hideHint() {
  clearTimeout(hintTimer);
  seek.classList.remove("hinting");
}

function stopDragging() {
  dragging = false;
  seek.classList.remove("dragging");
  hideHint();
  update();
}

seek.addEventListener("pointermove", (event) => {
  const time = pointed(event);
  if (dragging) seek.at = time;
  // A finger that only passes over it has not pressed it.
  if (dragging || event.pointerType === "mouse") showHint(time);
  update();
});
seek.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  dragging = true;
  seek.at = pointed(event);
  seek.classList.add("dragging");
  seek.setPointerCapture(event.pointerId);
  showHint(seek.at);
  update();
});
seek.addEventListener("pointerup", (event) => {
  if (!dragging) return;
  jump(seek.at);
  stopDragging();
  if (event.pointerType === "mouse" && seek.matches(":hover")) showHint(pointed(event));
});
seek.addEventListener("pointercancel", stopDragging);
seek.addEventListener("pointerleave", () => dragging || hideHint());
seek.addEventListener("blur", () => dragging || hideHint());

// Menus.

function choices() {
  const { presentation } = player;
  return {
    quality: {
      title: "Quality",
      items: [
        { label: "Auto", on: !player.quality, choose: () => player.setQuality(null) },
        ...[...player.renditions].reverse().map((rendition) => ({
          label: qualityName(rendition),
          note: bits(rendition.bandwidth),
          on: player.quality === rendition,
          choose: () => player.setQuality(rendition),
        })),
      ],
    },
    audio: {
      title: "Audio",
      items: presentation.audio.map((set) => ({ label: set.label, on: player.audio === set, choose: () => player.setAudio(set) })),
    },
    captions: {
      title: "Subtitles",
      items: [
        { label: "Off", on: !player.text, choose: () => player.setText(null) },
        ...presentation.text.map((set) => ({ label: set.label, on: player.text === set, choose: () => player.setText(set) })),
      ],
    },
  };
}

function closeMenu() {
  const opener = $($("menu").dataset.of);
  $("menu").hidden = true;
  opener?.setAttribute("aria-expanded", "false");
}

function openMenu(id) {
  const again = !$("menu").hidden && $("menu").dataset.of === id;
  closeMenu();
  if (again || !player.presentation) return;
  const { title, items } = choices()[id];
  const heading = document.createElement("h2");
  heading.textContent = title;
  $("menu").replaceChildren(
    heading,
    ...items.map((item) => {
      const button = document.createElement("button");
      button.setAttribute("role", "menuitemradio");
      button.setAttribute("aria-checked", String(item.on));
      button.textContent = item.label;
      if (item.note) button.append(Object.assign(document.createElement("span"), { textContent: item.note }));
      button.addEventListener("click", () => {
        item.choose();
        closeMenu();
        update();
      });
      return button;
    }),
  );
  $("menu").dataset.of = id;
  $("menu").hidden = false;
  $(id).setAttribute("aria-expanded", "true");
}
for (const id of ["quality", "audio", "captions"]) $(id).addEventListener("click", () => openMenu(id));

// Keyboard, and controls that leave when nothing happens.

let quietTimer;
function stir() {
  stage.classList.remove("quiet");
  clearTimeout(quietTimer);
  quietTimer = setTimeout(() => stage.classList.toggle("quiet", !video.paused && $("menu").hidden && !dragging), 2600);
}
for (const event of ["pointermove", "pointerdown", "keydown", "focusin"]) stage.addEventListener(event, stir);
stage.addEventListener("pointerleave", () => stage.classList.toggle("quiet", !video.paused && $("menu").hidden));
video.addEventListener("pause", stir);
video.addEventListener("play", stir);

const KEYS = {
  " ": toggle,
  k: toggle,
  arrowleft: () => jump(video.currentTime - 5),
  arrowright: () => jump(video.currentTime + 5),
  j: () => jump(video.currentTime - 10),
  l: () => jump(video.currentTime + 10),
  home: () => jump(player.range().start),
  end: () => jump(Infinity),
  arrowup: () => (video.volume = Math.min(1, video.volume + 0.05)),
  arrowdown: () => (video.volume = Math.max(0, video.volume - 0.05)),
  m: () => (video.muted = !video.muted),
  f: full,
  i: stats,
  c: () => player.presentation && player.setText(player.text ? null : (player.presentation.text[0] ?? null)),
  escape: () => (dragging ? stopDragging() : closeMenu()),
};
/** How long a jump by the keyboard shows where it goes, in milliseconds. */
const HINT_TIME = 1500;

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
  const key = event.key.toLowerCase();
  // A button that has the focus is pressed with space, as everywhere.
  if ((key === " " || key === "enter") && event.target.matches("button, a")) return;
  const act = KEYS[key] ?? (/^\d$/.test(key) ? () => jumpTo(Number(key) / 10) : null);
  if (!act) return;
  event.preventDefault();
  const before = video.currentTime;
  act();
  if (event.target === seek && video.currentTime !== before) showHint(video.currentTime, HINT_TIME);
  stir();
  update();
});

// Light and dark.

function theme(name) {
  document.documentElement.dataset.theme = name;
}
theme(localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
$("theme").addEventListener("click", () => {
  const name = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("theme", name);
  theme(name);
});

$("filter").addEventListener("input", showAssets);
addEventListener("hashchange", route);
loadAssets();
setInterval(loadAssets, 5000);
