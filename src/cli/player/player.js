// Plays one presentation in a <video>: Media Source Extensions where there are any, the browser's own HLS otherwise.

/** Of what the network seems to give, so much is spent on media. */
const SAFETY = 0.8;
/** Below so many seconds of buffer only a rendition that is sure to keep up is chosen. */
const LOW_SECONDS = 5;
/** Renditions are raised only above so many seconds, unless playback has just begun. */
const RAISE_SECONDS = 8;

/** With so much buffered there is time to load it again in a better quality, beginning so far ahead. */
const IMPROVE_SECONDS = 12;
const KEEP_SECONDS = 4;

/** Behind the delay that a live channel asks for: above the first playback is a little faster, above the second it jumps. */
const LATE_SECONDS = 0.4;
const LOST_SECONDS = 6;
const CHASE_RATE = 1.06;
/** Added to the delay by every stall, up to a limit. */
const CAUTION_SECONDS = 0.5;
const DELAY_SECONDS_MAX = 8;
/** At the live edge the buffer is never full; what counts is how much of what there is to have. */
const LIVE_SAFETY = 0.6;

class Player extends EventTarget {
  constructor(video) {
    super();
    this.video = video;
    this.streams = [];
    this.presentation = null;
    this.quality = null; // null: automatic, otherwise a rendition
    this.audio = null;
    this.text = null;
    this.throughput = new Throughput();
    this.stalls = 0;
    this.native = false;
    video.addEventListener("seeking", () => this.onSeeking());
    video.addEventListener("pause", () => (this.following = false));
    video.addEventListener("error", () => video.error && video.src && this.fail(new Error(mediaError(video.error))));
    setInterval(() => this.tick(), 200);
  }

  /** `urls`: {dash, hls, live}. Resolves when there is something to play; tells what goes wrong through the `failure` event. */
  async open(urls) {
    this.close();
    const opening = (this.opening = new AbortController());
    try {
      const { signal } = opening;
      this.presentation = await (urls.live ? loadChannel(urls.hls, signal) : loadPresentation(urls.dash, signal));
      if (opening.signal.aborted) return;
      const Source = window.ManagedMediaSource ?? window.MediaSource;
      if (Source) await this.attach(Source, opening.signal);
      else if (this.video.canPlayType("application/vnd.apple.mpegurl")) this.playNatively(urls.hls);
      else throw new Unplayable("This browser plays neither Media Source Extensions nor HLS.");
      this.dispatchEvent(new Event("opened"));
    } catch (error) {
      if (!opening.signal.aborted) this.fail(error);
    }
  }

  close() {
    this.opening?.abort();
    for (const stream of this.streams) stream.close();
    this.streams = [];
    this.video.querySelectorAll("track").forEach((track) => track.remove());
    if (this.objectUrl) URL.revokeObjectURL(this.objectUrl);
    this.objectUrl = null;
    this.mediaSource = null;
    this.video.removeAttribute("src");
    this.video.load();
    Object.assign(this, { presentation: null, quality: null, audio: null, text: null, stalls: 0, native: false, following: false });
    this.video.playbackRate = 1;
    this.stuckSince = null;
  }

  async attach(Source, signal) {
    const playable = (set) => ({ ...set, renditions: set.renditions.filter((one) => Source.isTypeSupported(one.type)) });
    const video = this.presentation.video.map(playable).filter((set) => set.renditions.length);
    const audio = this.presentation.audio.map(playable).filter((set) => set.renditions.length);
    const wanted = [...this.presentation.video, ...this.presentation.audio].flatMap((set) => set.renditions);
    if (!video.length && !audio.length) {
      const codecs = [...new Set(wanted.map((rendition) => rendition.codecs))].join(", ");
      throw new Unplayable(`This browser cannot decode ${codecs || "what is in this asset"}.`);
    }
    Object.assign(this.presentation, { video, audio });
    this.renditions = video[0]?.renditions ?? [];
    this.audio = audio.find((set) => set.roles.includes("main")) ?? audio[0] ?? null;
    const mediaSource = (this.mediaSource = new Source());
    // A ManagedMediaSource is only attached where remote playback is off.
    this.video.disableRemotePlayback = true;
    const opened = new Promise((resolve) => mediaSource.addEventListener("sourceopen", resolve, { once: true }));
    this.objectUrl = URL.createObjectURL(mediaSource);
    this.video.src = this.objectUrl;
    await opened;
    if (signal.aborted) return;
    mediaSource.duration = this.presentation.duration;
    const common = { video: this.video, mediaSource, throughput: this.throughput, fail: (error) => this.fail(error) };
    if (this.renditions.length) {
      const choose = () => this.quality ?? this.automatic();
      this.streams.push(new Stream({ ...common, kind: "video", measure: true, rendition: this.automatic(), choose }));
    }
    if (this.audio) {
      const choose = () => this.audio.renditions.at(-1);
      this.streams.push(new Stream({ ...common, kind: "audio", measure: !this.renditions.length, rendition: choose(), choose }));
    }
    this.addTracks();
    if (this.presentation.live) {
      for (const stream of this.streams) this.follow(stream, signal);
      this.goLive();
    }
    this.tick();
  }

  /** Keeps a live stream's list of segments up to date. */
  async follow(stream, signal) {
    for (let last = null; !signal.aborted && !last?.ended; ) {
      const rendition = stream.choose();
      const known = rendition.segments.at(-1)?.end;
      try {
        await reloadPlaylist(rendition, this.presentation, signal, rendition === last);
        last = rendition;
      } catch (error) {
        if (signal.aborted) return;
        if (error.status === 404) return this.fail(error);
      }
      this.tick();
      // Nothing new: the server does not wait, or the encoder is gone, or the network.
      if (rendition.segments.at(-1)?.end === known) await new Promise((wake) => setTimeout(wake, 500));
    }
  }

  /** Where playback can be: {start, end}, in seconds. */
  range() {
    const { presentation, video } = this;
    if (!presentation?.live) return { start: 0, end: presentation?.duration ?? video.duration };
    const lists = this.streams.map((stream) => stream.rendition.segments).filter((list) => list.length);
    if (!lists.length) return { start: 0, end: 0 };
    return { start: Math.max(...lists.map((list) => list[0].start)), end: Math.min(...lists.map((list) => list.at(-1).end)) };
  }

  /** Seconds between the encoder's clock and what is shown. */
  get latency() {
    const { live, origin, clock } = this.presentation ?? {};
    return live ? Date.now() / 1000 + clock - origin - this.video.currentTime : NaN;
  }

  goLive() {
    this.following = true;
    const { start, end } = this.range();
    this.video.currentTime = Math.max(start, end - this.presentation.delay);
  }

  /** Stays at the live edge, unless whoever watches has gone elsewhere. */
  chase() {
    const { video, presentation } = this;
    const { start, end } = this.range();
    if (!(end > start)) return;
    this.mediaSource.setLiveSeekableRange?.(Math.max(0, start), Math.max(0, end));
    const late = end - video.currentTime - presentation.delay;
    if (!video.paused && video.currentTime < start - 1) video.currentTime = start + 1;
    else if (this.following && !video.seeking && late > LOST_SECONDS) this.goLive();
    const rate = this.following && late > LATE_SECONDS ? CHASE_RATE : 1;
    if (video.playbackRate !== rate) video.playbackRate = rate;
  }

  playNatively(url) {
    this.native = true;
    this.renditions = [];
    this.video.src = url;
  }

  addTracks() {
    for (const set of this.presentation.text) {
      const track = document.createElement("track");
      Object.assign(track, { kind: "subtitles", label: set.label, srclang: set.language, src: set.renditions[0].url });
      set.track = track;
      this.video.append(track);
      track.track.mode = "disabled";
    }
  }

  /** The rendition for the next segment: the best that the network is sure to deliver in time. */
  automatic() {
    const { renditions } = this;
    const stream = this.stream("video");
    const ahead = stream?.bufferedAhead() ?? 0;
    const estimate = this.throughput.estimate;
    // Nothing is known yet: begin in the middle, so that neither the first picture nor the first minute is spoilt.
    if (!estimate) return renditions[Math.floor((renditions.length - 1) / 2)];
    const audio = this.audio?.renditions.at(-1).bandwidth ?? 0;
    if (this.presentation.live) {
      return renditions.filter((rendition) => rendition.bandwidth <= estimate * LIVE_SAFETY).at(-1) ?? renditions[0];
    }
    const budget = estimate * (ahead < LOW_SECONDS ? SAFETY * 0.75 : SAFETY) - audio;
    const affordable = renditions.filter((rendition) => rendition.bandwidth <= budget).at(-1) ?? renditions[0];
    const now = stream?.appended;
    if (!now || stream.next === null) return affordable;
    if (affordable.bandwidth > now.bandwidth && ahead < RAISE_SECONDS && this.video.currentTime > RAISE_SECONDS) return now;
    // A full buffer outlasts a short drop: step down only as far as needed.
    if (affordable.bandwidth < now.bandwidth && ahead > 12 && now.bandwidth < estimate) return now;
    return affordable;
  }

  stream(kind) {
    return this.streams.find((stream) => stream.kind === kind) ?? null;
  }

  setQuality(rendition) {
    this.quality = rendition;
    const stream = this.stream("video");
    if (!rendition || !stream) return;
    // What plays next is kept, so that the picture does not stop.
    stream.reload(stream.endOfPlaying(this.video.currentTime)).then(() => this.tick());
  }

  setAudio(set) {
    if (set === this.audio) return;
    this.audio = set;
    this.stream("audio")?.reload(null).then(() => this.tick());
  }

  setText(set) {
    this.text = set;
    for (const other of this.presentation.text) {
      if (other.track) other.track.track.mode = other === set ? "showing" : "disabled";
    }
  }

  onSeeking() {
    if (this.native || !this.mediaSource) return;
    this.stuckSince = null;
    for (const stream of this.streams) stream.seek(this.video.currentTime);
    this.tick();
  }

  tick() {
    if (!this.mediaSource || this.mediaSource.readyState === "closed") return;
    const isOpen = this.presentation.live && !this.streams.every((stream) => stream.rendition.ended);
    if (isOpen && this.mediaSource.readyState === "open") this.chase();
    for (const stream of this.streams) stream.pump();
    this.abandon();
    this.improve();
    const idle = this.streams.every((stream) => !stream.busy && !stream.buffer.updating);
    if (idle && !isOpen && this.streams.length && this.streams.every((stream) => stream.ended) && this.mediaSource.readyState === "open") {
      this.mediaSource.endOfStream();
    }
    this.recover();
  }

  /** A segment that will not arrive before the buffer runs dry is fetched again in the smallest rendition. */
  abandon() {
    const stream = this.stream("video");
    if (!stream?.loading || this.quality || stream.rendition === this.renditions[0]) return;
    const { began, total, received } = stream.loading;
    const elapsed = (performance.now() - began) / 1000;
    if (elapsed < 1 || !received || !total) return;
    const left = ((total - received) * elapsed) / received;
    if (left > Math.max(1, stream.bufferedAhead()) && left > elapsed) {
      this.throughput.record(received, elapsed);
      stream.cancel();
    }
  }

  /** When the network has become much better, what lies ahead is not played in the poor quality it was loaded in. */
  improve() {
    const stream = this.stream("video");
    if (!stream || this.quality || stream.busy || stream.bufferedAhead() < IMPROVE_SECONDS || this.video.paused) return;
    const time = this.video.currentTime;
    const kept = stream.endOfPlaying(time + KEEP_SECONDS);
    const next = kept === null ? null : stream.renditionAt(kept + 0.1);
    const better = this.automatic();
    const certain = this.throughput.estimate * SAFETY > 2 * better.bandwidth;
    if (next && certain && better.bandwidth > 1.5 * next.bandwidth) stream.reload(kept).then(() => this.tick());
  }

  /** Playback that stands still although there is something to play: over small gaps, or past what the decoder dislikes. */
  recover() {
    const { video } = this;
    const now = performance.now();
    const moving = video.paused || video.ended || video.seeking || video.currentTime !== this.lastTime;
    this.lastTime = video.currentTime;
    if (moving || !this.streams.length) {
      this.stuckSince = null;
      this.stalled = false;
      return;
    }
    this.stuckSince ??= now;
    const stuck = (now - this.stuckSince) / 1000;
    if (stuck > 0.4 && !this.stalled && video.currentTime > 0) {
      this.stalled = true;
      this.stalls++;
      if (this.presentation.live) this.presentation.delay = Math.min(this.presentation.delay + CAUTION_SECONDS, DELAY_SECONDS_MAX);
    }
    if (stuck < 0.6) return;
    const { buffered } = video;
    for (let i = 0; i < buffered.length; i++) {
      const gap = buffered.start(i) - video.currentTime;
      if (gap > 0 && (gap < 1 || stuck > 2)) {
        video.currentTime = buffered.start(i) + 0.01;
        return;
      }
    }
    if (stuck > 3 && this.streams.every((stream) => stream.bufferedAhead() > 1)) {
      video.currentTime += 0.1;
    }
  }

  fail(error) {
    const text = error instanceof TypeError ? "The server cannot be reached." : error.message;
    this.dispatchEvent(new CustomEvent("failure", { detail: text }));
  }

  /** For the statistics overlay. */
  figures() {
    const { video } = this;
    const shown = this.stream("video")?.renditionAt(video.currentTime) ?? null;
    const quality = video.getVideoPlaybackQuality?.();
    return {
      shown,
      audio: this.audio,
      ahead: this.streams.length ? Math.min(...this.streams.map((stream) => stream.bufferedAhead())) : 0,
      throughput: this.throughput.estimate,
      bytes: this.streams.reduce((sum, stream) => sum + stream.bytes, 0),
      dropped: quality?.droppedVideoFrames ?? 0,
      frames: quality?.totalVideoFrames ?? 0,
      stalls: this.stalls,
    };
  }
}

function mediaError(error) {
  return {
    1: "Playback was interrupted.",
    2: "The connection broke while loading.",
    3: "The browser could not decode this media.",
    4: "The browser does not support this media.",
  }[error.code] ?? "Playback failed.";
}
