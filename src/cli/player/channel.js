// What a live channel's HLS playlists say (RFC 8216bis), in the form that presentation.js gives to an MPD. Times are seconds
// after `origin`, which is in seconds since 1970; renditions are read again and again, by number where the server offers it.

async function loadChannel(url, signal) {
  const presentation = { live: true, duration: Infinity, origin: null, clock: 0, delay: 0, video: [], audio: [], text: [] };
  const lines = (await loadText(url, signal)).split("\n");
  const renditions = new Map();
  for (const [at, line] of lines.entries()) {
    const [tag, own] = [line.split(":")[0], attributes(line)];
    if (tag === "#EXT-X-STREAM-INF" && !renditions.has(lines[at + 1])) renditions.set(lines[at + 1], own);
    if (tag === "#EXT-X-MEDIA" && own.TYPE === "AUDIO" && own.URI) {
      const set = { kind: "audio", language: own.LANGUAGE ?? "und", roles: own.DEFAULT === "YES" ? ["main"] : [] };
      presentation.audio.push({ ...set, label: own.NAME, renditions: [newRendition("audio", own.URI, { group: own["GROUP-ID"] })] });
    }
  }
  const pictures = [...renditions].filter(([, own]) => own.RESOLUTION);
  if (pictures.length) {
    const list = pictures.map(([uri, own]) => newRendition("video", uri, own)).sort((a, b) => a.bandwidth - b.bandwidth);
    presentation.video.push({ kind: "video", language: "und", label: "", roles: ["main"], renditions: list });
  } else if (!presentation.audio.length) {
    for (const [uri, own] of renditions) {
      presentation.audio.push({ kind: "audio", language: "und", label: languageName(), roles: ["main"], renditions: [newRendition("audio", uri, own)] });
    }
  }
  for (const rendition of presentation.audio.flatMap((set) => set.renditions).filter((one) => one.group)) {
    const user = [...renditions.values()].find((own) => own.AUDIO === rendition.group);
    setCodecs(rendition, user?.CODECS ?? "");
  }
  const all = [...presentation.video, ...presentation.audio].flatMap((set) => set.renditions);
  all.forEach((rendition) => (rendition.playlist = new URL(rendition.id, url).href));
  await Promise.all(all.map((rendition) => reloadPlaylist(rendition, presentation, signal)));
  // The server's clock, for a latency that this machine's clock does not spoil.
  const now = Date.parse(await loadText(new URL("time", url).href, signal));
  if (now) presentation.clock = (now - Date.now()) / 1000;
  return presentation;
}

async function loadText(url, signal) {
  const response = await fetch(url, { signal });
  if (!response.ok) throw new Refused(url, response.status);
  return response.text();
}

function newRendition(kind, uri, own) {
  const [width, height] = (own.RESOLUTION ?? "0x0").split("x").map(Number);
  const frameRate = Number(own["FRAME-RATE"] ?? 0);
  const rendition = { id: uri, kind, group: own.group, bandwidth: Number(own.BANDWIDTH ?? 0), width, height, frameRate };
  setCodecs(rendition, own.CODECS ?? "");
  return Object.assign(rendition, { segments: [], init: null, offset: 0, next: null, ended: false });
}

function setCodecs(rendition, codecs) {
  const isPicture = (codec) => /^(avc|hvc|hev|dvh|av01|vp0)/.test(codec);
  rendition.codecs = codecs.split(",").filter((codec) => isPicture(codec) === (rendition.kind === "video")).join(",");
  rendition.mime = `${rendition.kind}/mp4`;
  rendition.type = `${rendition.mime}; codecs="${rendition.codecs}"`;
}

/** `block`: wait for what comes after what is known already (§6.2.5.2). */
async function reloadPlaylist(rendition, presentation, signal, block = false) {
  const url = new URL(rendition.playlist);
  if (block && rendition.next) {
    url.searchParams.set("_HLS_msn", rendition.next.number);
    if (rendition.next.part !== null) url.searchParams.set("_HLS_part", rendition.next.part);
  }
  readPlaylist(await loadText(url.href, signal), rendition, presentation);
}

/** Segments that are listed in parts are taken in parts: so playback stays where it is when the rest is published. */
function readPlaylist(text, rendition, presentation) {
  const segments = [];
  let [number, time, length, parts, gap, blocks, hasParts] = [0, null, 0, [], false, false, false];
  const add = (start, duration, uri, independent) => segments.push({
    start: start - presentation.origin, end: start + duration - presentation.origin,
    url: new URL(uri, rendition.playlist).href, independent,
  });
  const addParts = (from) => {
    let start = from;
    for (const part of parts) {
      if (part.GAP !== "YES") add(start, Number(part.DURATION), part.URI, rendition.kind === "audio" || part.INDEPENDENT === "YES");
      start += Number(part.DURATION);
    }
    return start;
  };
  for (const line of text.split("\n")) {
    const [tag, value] = [line.split(":", 1)[0], line.slice(line.indexOf(":") + 1)];
    if (tag === "#EXT-X-MEDIA-SEQUENCE") number = Number(value);
    else if (tag === "#EXT-X-PROGRAM-DATE-TIME") {
      time = Date.parse(value) / 1000;
      presentation.origin ??= Math.floor(time);
    } else if (tag === "#EXT-X-MAP") rendition.init = new URL(attributes(line).URI, rendition.playlist).href;
    else if (tag === "#EXT-X-SERVER-CONTROL") {
      const control = attributes(line);
      blocks = control["CAN-BLOCK-RELOAD"] === "YES";
      presentation.delay ||= Number(control["PART-HOLD-BACK"] ?? control["HOLD-BACK"] ?? 6) + 0.5;
    } else if (tag === "#EXT-X-PART-INF") hasParts = true;
    else if (tag === "#EXT-X-PART") parts.push(attributes(line));
    else if (tag === "#EXT-X-GAP") gap = true;
    else if (tag === "#EXTINF") length = Number.parseFloat(value);
    else if (line && !line.startsWith("#")) {
      if (parts.length) addParts(time);
      else if (!gap) add(time, length, line, true);
      [number, time, parts, gap] = [number + 1, time + length, [], false];
    }
  }
  if (parts.length) addParts(time);
  rendition.segments = segments;
  rendition.offset = presentation.origin;
  rendition.next = blocks ? { number, part: hasParts ? parts.length : null } : null;
  rendition.ended = text.includes("#EXT-X-ENDLIST");
}

/** `NAME=value,NAME="a, b"` behind the colon of a tag. */
function attributes(line) {
  return Object.fromEntries([...line.matchAll(/([A-Z0-9-]+)=("[^"]*"|[^,]*)/g)].map(([, name, value]) => [name, value.replaceAll('"', "")]));
}
