// One kind of media on its way into a SourceBuffer: which segment comes next, fetching it, appending, evicting.

const AHEAD_SECONDS = 20;
const BEHIND_SECONDS = 30;
/** Ranges and segment times of different renditions differ by less than a frame; this is more than any of them. */
const TOLERANCE_SECONDS = 0.15;
const ATTEMPTS = 4;

/** How fast the network is: two moving averages, the slower of which counts (a drop is believed sooner than a rise). */
class Throughput {
  constructor() {
    this.fast = { half: 2, value: 0, weight: 0 };
    this.slow = { half: 5, value: 0, weight: 0 };
    this.last = 0;
    this.received = 0; // bytes of all kinds of media: what is loaded side by side shares the network
  }

  record(bytes, seconds) {
    // Small answers measure latency, not throughput.
    if (bytes < 16384 || seconds <= 0) return;
    this.last = (bytes * 8) / seconds;
    for (const average of [this.fast, this.slow]) {
      // A segment that came at once says as much as one that took a second.
      const alpha = Math.pow(0.5, Math.max(seconds, 1) / average.half);
      average.value = this.last * (1 - alpha) + alpha * average.value;
      average.weight = 1 - alpha + alpha * average.weight;
    }
  }

  /** Bits a second; 0 when nothing is known yet. */
  get estimate() {
    if (!this.fast.weight) return 0;
    return Math.min(this.fast.value / this.fast.weight, this.slow.value / this.slow.weight);
  }
}

class Stream {
  /**
   * `choose()` names the rendition for the next segment; `fail(error)` is told what cannot be helped;
   * `measure` says whether segments are large enough to tell how fast the network is.
   */
  constructor({ kind, video, mediaSource, rendition, throughput, measure, choose, fail }) {
    Object.assign(this, { kind, video, throughput, measure, choose, fail });
    this.buffer = mediaSource.addSourceBuffer(rendition.type);
    this.buffer.mode = "segments";
    this.type = rendition.type;
    this.rendition = rendition;
    this.appended = null; // the rendition whose init segment was appended last
    this.next = null; // where the last appended segment ends; null: wherever playback is
    this.ahead = AHEAD_SECONDS;
    this.inits = new Map();
    this.bytes = 0;
    this.log = []; // which rendition is buffered where: {start, end, rendition}
    this.work = Promise.resolve();
    this.generation = 0;
    this.abort = new AbortController();
    this.busy = false;
    this.loading = null;
    this.closed = false;
  }

  /** Seconds that play from `time` on without a gap. */
  bufferedAhead(time = this.video.currentTime) {
    const end = this.bufferedEnd(time);
    return end === null ? 0 : end - time;
  }

  bufferedEnd(time) {
    const ranges = this.closed ? [] : this.buffer.buffered;
    let end = null;
    for (let i = 0; i < ranges.length; i++) {
      if (end === null ? ranges.start(i) <= time + TOLERANCE_SECONDS && ranges.end(i) > time
                       : ranges.start(i) <= end + TOLERANCE_SECONDS) end = ranges.end(i);
    }
    return end;
  }

  /** Whether everything up to the end has been appended. */
  get ended() {
    const last = this.rendition.segments.at(-1);
    return this.next !== null && last && this.next >= last.end - TOLERANCE_SECONDS;
  }

  /** Called often; does the next thing that has to be done, one at a time. */
  async pump() {
    if (this.busy || this.closed) return;
    const time = this.video.currentTime;
    if (Math.max(this.bufferedAhead(time), this.next === null ? 0 : this.next - time) >= this.ahead) return;
    this.rendition = this.choose();
    let segment = this.segmentAfter(this.next ?? time);
    if (segment?.independent === false && this.next !== null && this.appended) {
      // Another rendition can only begin with a key frame: until then the one before goes on.
      this.rendition = this.appended;
      segment = this.segmentAfter(this.next);
    }
    if (!segment) return;
    this.busy = true;
    const generation = this.generation;
    const current = () => generation === this.generation && !this.closed;
    try {
      const rendition = this.rendition;
      const [init, media] = await Promise.all([this.init(rendition), this.fetch(segment.url, this.measure)]);
      if (!current()) return;
      if (this.appended !== rendition) {
        await this.enqueue(() => {
          if (rendition.type !== this.type) this.buffer.changeType(rendition.type);
          this.type = rendition.type;
          this.buffer.timestampOffset = -rendition.offset;
          this.buffer.appendBuffer(init);
        });
        this.appended = rendition;
        if (!current()) return;
      }
      await this.append(media, current);
      if (!current()) return;
      this.next = segment.end;
      this.log = this.log.filter((part) => part.end <= segment.start + TOLERANCE_SECONDS || part.start >= segment.end);
      this.log.push({ start: segment.start, end: segment.end, rendition });
      await this.evict();
    } catch (error) {
      if (current() && error.name !== "AbortError") this.fail(error);
    } finally {
      if (generation === this.generation) this.busy = false;
    }
  }

  /** Renditions may differ in their cuts by a frame, so a segment counts as passed when `time` is beyond its middle. */
  segmentAfter(time) {
    const { segments } = this.rendition;
    if (this.next === null) {
      let first = segments.findIndex((segment) => segment.end > time + 0.01);
      while (segments[first]?.independent === false && first > 0) first--;
      return segments[first] ?? null;
    }
    return segments.find((segment) => (segment.start + segment.end) / 2 > time) ?? null;
  }

  /** Playback is somewhere else now: keep what is buffered there, load the rest. */
  seek(time) {
    this.cancel();
    const end = this.bufferedEnd(time);
    // The end of a buffered run is where a segment ended; the log knows which.
    const part = end === null ? null : this.log.find((part) => Math.abs(part.end - end) < TOLERANCE_SECONDS);
    this.next = part ? part.end : end;
  }

  /** Throws away what is buffered from `start` on (seconds; null: everything) and loads it anew. */
  async reload(start) {
    this.cancel();
    const generation = this.generation;
    this.busy = true;
    try {
      await this.remove(start ?? 0, Infinity);
      this.log = this.log.filter((part) => start !== null && part.start < start);
      if (generation === this.generation) this.next = start;
    } finally {
      if (generation === this.generation) this.busy = false;
    }
  }

  /** The end of the segment that plays at `time`, or of the next one when that is less than a second away. */
  endOfPlaying(time) {
    let end = null;
    for (const part of [...this.log].sort((a, b) => a.start - b.start)) {
      if (part.end > time && part.start <= Math.max(time, end ?? time) + TOLERANCE_SECONDS) {
        end = part.end;
        if (end - time >= 1) break;
      }
    }
    return end;
  }

  /** Gives up what is being fetched. */
  cancel() {
    this.generation++;
    this.abort.abort();
    this.abort = new AbortController();
    this.busy = false;
  }

  close() {
    this.cancel();
    this.closed = true;
  }

  renditionAt(time) {
    return this.log.find((part) => part.start <= time + 0.01 && part.end > time)?.rendition ?? null;
  }

  init(rendition) {
    if (!this.inits.has(rendition)) {
      const fetched = this.fetch(rendition.init, false);
      this.inits.set(rendition, fetched);
      fetched.catch(() => this.inits.delete(rendition));
    }
    return this.inits.get(rendition);
  }

  /** Asks again what may come right by itself: a broken connection, an overloaded server. */
  async fetch(url, measure) {
    const { signal } = this.abort;
    for (let attempt = 1; ; attempt++) {
      try {
        const began = performance.now();
        const before = this.throughput.received;
        const response = await fetch(url, { signal });
        if (!response.ok) throw new Refused(url, response.status);
        const progress = { began, total: Number(response.headers.get("content-length")), received: 0 };
        if (measure) this.loading = progress;
        const parts = [];
        for (const reader = response.body.getReader(); ; ) {
          const { done, value } = await reader.read();
          if (done) break;
          parts.push(value);
          this.bytes += value.length;
          this.throughput.received += value.length;
          progress.received += value.length;
        }
        const whole = new Uint8Array(await new Blob(parts).arrayBuffer());
        if (measure) this.throughput.record(this.throughput.received - before, (performance.now() - began) / 1000);
        return whole;
      } catch (error) {
        const final = error.name === "AbortError" || (error.status >= 400 && error.status < 500) || attempt === ATTEMPTS;
        if (final) throw error;
        await new Promise((wake) => setTimeout(wake, 250 * 2 ** attempt));
        signal.throwIfAborted();
      } finally {
        if (measure) this.loading = null;
      }
    }
  }

  async append(bytes, current) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.enqueue(() => current() && this.buffer.appendBuffer(bytes));
      } catch (error) {
        if (error.name !== "QuotaExceededError" || attempt === 4) throw error;
        // The browser has less room than we thought: keep less, behind and ahead.
        this.ahead = Math.max(5, this.ahead / 2);
        const time = this.video.currentTime;
        await this.remove(0, Math.max(0, time - 2));
        await this.remove(time + this.ahead, Infinity);
        this.log = this.log.filter((part) => part.end > time - 2 && part.start < time + this.ahead);
      }
    }
  }

  async evict() {
    const end = this.video.currentTime - BEHIND_SECONDS;
    const ranges = this.buffer.buffered;
    if (ranges.length && ranges.start(0) < end - 5) {
      await this.remove(0, end);
      this.log = this.log.filter((part) => part.end > end);
    }
  }

  remove(start, end) {
    return this.enqueue(() => {
      if (end > start && this.buffer.buffered.length) this.buffer.remove(start, end);
    });
  }

  /** A SourceBuffer does one thing at a time; so they queue. */
  enqueue(operation) {
    const run = this.work.then(
      () =>
        new Promise((done, failed) => {
          if (this.closed) return done();
          const settle = (then) => (event) => {
            this.buffer.removeEventListener("updateend", ended);
            this.buffer.removeEventListener("error", broken);
            then(event);
          };
          const ended = settle(() => done());
          const broken = settle(() => failed(new Unplayable(`The browser could not decode the ${this.kind}.`)));
          this.buffer.addEventListener("updateend", ended);
          this.buffer.addEventListener("error", broken);
          try {
            operation();
            if (!this.buffer.updating) ended();
          } catch (error) {
            settle(failed)(error);
          }
        }),
    );
    this.work = run.catch(() => {});
    return run;
  }
}
