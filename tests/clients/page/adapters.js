// One face for every player, and a record of what went wrong while it played. Runs in the browser.

const video = document.getElementById('video');

const record = { errors: [], stalls: [], jumps: [], cues: new Map(), ended: false, started: false, isTransport: false };
window.record = record;
// Seeks that the test asked for; any other that goes somewhere is a player jumping over a hole.
let asked = 0;
let lastTime = 0;

video.addEventListener('playing', () => { record.started = true; });
video.addEventListener('ended', () => { record.ended = true; });
video.addEventListener('error', () => record.errors.push(`video: ${video.error?.code} ${video.error?.message}`));
// Media that is there to be played on from a time. A player that waits with media at hand waits for a busy machine to decode,
// not for the origin.
const ahead = (time) => {
  for (let i = 0; i < video.buffered.length; i += 1) {
    if (video.buffered.start(i) <= time + 0.05 && video.buffered.end(i) > time) return video.buffered.end(i) - time;
  }
  return 0;
};
// hls.js puts the first decode time of a transport stream at 0, so that its pictures begin later by what they wait for being
// reordered, whoever made it (ffmpeg's own HLS likewise). Sound that comes first is played up to there, and waits once.
let startsWaited = 0;
const waitsForFirstPicture = () => {
  const gap = video.buffered.length ? video.buffered.start(0) - video.currentTime : 0;
  return record.isTransport && gap > 0 && gap <= 0.1;
};
video.addEventListener('waiting', () => {
  const atEnd = video.duration - video.currentTime < 0.25;
  if (waitsForFirstPicture()) return;
  if (record.started && !video.seeking && !video.ended && !atEnd && !record.switching && ahead(video.currentTime) < 0.5) {
    record.stalls.push(video.currentTime);
  }
});
video.addEventListener('seeking', () => {
  if (asked > 0) asked -= 1;
  else if (record.started && Math.abs(video.currentTime - lastTime) > 0.3) record.jumps.push([lastTime, video.currentTime]);
  lastTime = video.currentTime;
});
setInterval(() => {
  if (!video.seeking) lastTime = video.currentTime;
  for (const track of video.textTracks) {
    for (const cue of track.activeCues ?? []) see(cue.text, cue.startTime, cue.endTime);
  }
}, 50);

/** Cues that were shown: their words, and when the player has them begin and end, on the clock of the video element. */
const see = (text, start, end) => {
  const known = record.cues.get(text);
  // In pieces, where segments cut it.
  if (known && start <= known.end + 0.1) known.end = Math.max(known.end, end);
  else if (!known) record.cues.set(text, { start, end });
};

window.state = () => ({
  ...record,
  cues: [...record.cues.keys()],
  times: [...record.cues].map(([text, { start, end }]) => ({ text, start, end })),
  time: video.currentTime,
  duration: video.duration,
  width: video.videoWidth,
  height: video.videoHeight,
  paused: video.paused,
  buffered: [...Array(video.buffered.length).keys()].map((i) => [video.buffered.start(i), video.buffered.end(i)]),
  frames: video.getVideoPlaybackQuality().totalVideoFrames,
  dropped: video.getVideoPlaybackQuality().droppedVideoFrames,
});

window.seek = (seconds) => { asked += 1; video.currentTime = seconds; };

/** Seconds from when each picture that is shown was taken, which the camera drew into it, to when it was seen here; and
 *  when a picture would have been taken that is shown at 0. */
window.watchGlass = () => {
  const [blocks, block, height] = [32, 10, 16];
  const canvas = new OffscreenCanvas(blocks * block, height);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  window.glass = [];
  const look = (_, { mediaTime }) => {
    const seen = Date.now();
    context.drawImage(video, 0, 0, canvas.width, height, 0, 0, canvas.width, height);
    const row = context.getImageData(0, height / 2, canvas.width, 1).data;
    let taken = 0;
    for (let bit = 0; bit < blocks; bit += 1) taken = taken * 2 + (row[4 * (bit * block + block / 2)] > 127 ? 1 : 0);
    const age = (((seen - taken) % 2 ** blocks) + 2 ** blocks) % 2 ** blocks;
    window.glass.push(age / 1000);
    window.mediaZero = (seen - age) / 1000 - mediaTime;
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
};

/** The number of the picture that a player shows for a time while one scrubs, which is drawn into it as twelve bars. */
window.thumbnail = async (time) => {
  const found = await window.player.thumbnail(time);
  if (!found) return null;
  const { url, x, y, width, height } = found;
  const sheet = await createImageBitmap(await (await fetch(url)).blob());
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  context.drawImage(sheet, x, y, width, height, 0, 0, width, height);
  const bars = 12;
  const row = context.getImageData(0, Math.floor(height / 4), width, 1).data;
  const isLight = (bar) => row[4 * Math.floor(((bar + 0.5) * width) / bars)] > 127;
  const number = [...Array(bars).keys()].reduce((sum, bar) => sum + (isLight(bar) ? 2 ** bar : 0), 0);
  return { number, width, height, sheet: [sheet.width, sheet.height], name: url.split('/').at(-1) };
};

const showText = (on) => {
  for (const track of video.textTracks) if (track.mode !== 'disabled') track.mode = on ? 'showing' : 'hidden';
};

// Each: open(url) resolves when the player knows the tracks; heights, languages and choices as the player tells them.
const players = {
  hls: () => {
    // Otherwise it stays as far behind as it happened to begin.
    const player = new Hls({ enableWorker: true, lowLatencyMode: true, maxLiveSyncPlaybackRate: 1.25 });
    player.on(Hls.Events.ERROR, (_, data) => {
      if (data.details === 'bufferStalledError' && ahead(video.currentTime) > 0.5) return;
      if (data.details === 'bufferStalledError' && !data.fatal && waitsForFirstPicture() && (startsWaited += 1) === 1) return;
      // What is cut out of a channel begins with a video segment, and with audio up to half a frame later: on a busy machine
      // hls.js tells that it steps over that.
      if (data.details === 'bufferSeekOverHole' && video.currentTime < 0.2) return;
      // A choice made while a fragment is on its way: it is dropped. And where it steps over the time before the first picture of
      // a transport stream, it gives up what it was loading.
      if (data.details === 'aborted' && !data.fatal && (record.switching || (record.isTransport && video.currentTime < 0.5))) return;
      // What came meanwhile is put where the last choice's still lies, and on a busy machine hls.js 1.7.4 sometimes counts as not
      // appended what it did append (the statistics of the fragment are others by then). It appends the same again if the
      // buffer did not grow, and what does not grow it then is an error here.
      if (data.details === 'bufferAppendNoProgress' && !data.fatal && (record.switching || data.appendsWithoutProgress === 1)) return;
      record.errors.push(`${data.type} ${data.details} fatal=${data.fatal} ${data.error?.message ?? ''}`);
    });
    return {
      open: (url) => new Promise((resolve) => {
        record.isTransport = url.includes('/ts/');
        player.on(Hls.Events.MANIFEST_PARSED, () => setTimeout(resolve, 200));
        if (url.endsWith('#whole')) player.config.lowLatencyMode = false;
        player.loadSource(url);
        player.attachMedia(video);
      }),
      heights: () => player.levels.map((level) => level.height).filter(Boolean),
      chooseHeight: (height) => { player.nextLevel = player.levels.findIndex((level) => level.height === height); },
      audio: () => player.audioTracks.map((track) => track.lang),
      chooseAudio: (language) => { player.audioTrack = player.audioTracks.findIndex((track) => track.lang === language); },
      currentAudio: () => player.audioTracks[player.audioTrack]?.lang,
      // Media time of a channel is the time of day.
      latency: () => (Date.now() - player.playingDate.getTime()) / 1000,
      text: () => player.subtitleTracks.map((track) => track.lang),
      // Of captions in the pictures hls.js makes text tracks, named as the playlist names them, when it finds some.
      captions: () => [...video.textTracks].filter((track) => track.kind === 'captions').map((track) => track.label),
      showCaptions: (label) => {
        for (const track of video.textTracks) if (track.label === label) track.mode = 'showing';
      },
      chooseText: (language) => {
        player.subtitleTrack = player.subtitleTracks.findIndex((track) => track.lang === language);
        player.subtitleDisplay = true;
      },
    };
  },
  dash: () => {
    const player = dashjs.MediaPlayer().create();
    player.updateSettings({ streaming: { text: { defaultEnabled: false } } });
    player.on(dashjs.MediaPlayer.events.ERROR, (event) => record.errors.push(`${event.error?.code} ${event.error?.message ?? event.error}`));
    // dash.js pauses at the end by itself when the browser is late to notice it, and the browser then never says so.
    player.on(dashjs.MediaPlayer.events.PLAYBACK_ENDED, (event) => { if (event.isLast) record.ended = true; });
    const representations = () => player.getRepresentationsByType('video');
    const trackOf = (type, language) => player.getTracksFor(type).find((track) => track.lang === language);
    return {
      open: (url) => new Promise((resolve) => {
        player.on(dashjs.MediaPlayer.events.STREAM_INITIALIZED, () => setTimeout(resolve, 200));
        player.initialize(video, url, false);
      }),
      heights: () => representations().map((one) => one.height),
      chooseHeight: (height) => {
        player.updateSettings({ streaming: { abr: { autoSwitchBitrate: { video: false } } } });
        player.setRepresentationForTypeByIndex('video', representations().findIndex((one) => one.height === height), true);
      },
      audio: () => player.getTracksFor('audio').map((track) => track.lang),
      chooseAudio: (language) => player.setCurrentTrack(trackOf('audio', language)),
      currentAudio: () => player.getCurrentTrackFor('audio')?.lang,
      latency: () => player.getCurrentLiveLatency(),
      thumbnail: (time) => new Promise((resolve) => { player.provideThumbnail(time, resolve); }),
      text: () => player.getTracksFor('text').map((track) => track.lang),
      chooseText: async (language) => {
        // The first track counts as chosen from the start, though it is not shown, and choosing it then does nothing. dash.js
        // needs a moment for either step: a choice or a jump that comes sooner is lost.
        const moment = () => new Promise((done) => setTimeout(done, 500));
        player.setTextTrack(-1);
        await moment();
        player.setTextTrack(player.getTracksFor('text').findIndex((track) => track.lang === language));
        showText(true);
        await moment();
      },
    };
  },
  shaka: () => {
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    player.configure({ streaming: { lowLatencyMode: true } });
    player.addEventListener('error', (event) => record.errors.push(`shaka ${event.detail.category} ${event.detail.code} ${event.detail.data}`));
    return {
      open: async (url) => {
        await player.attach(video);
        await player.load(url);
      },
      heights: () => [...new Set(player.getVariantTracks().map((track) => track.height).filter(Boolean))],
      chooseHeight: (height) => {
        player.configure({ abr: { enabled: false } });
        const active = player.getVariantTracks().find((track) => track.active);
        const same = player.getVariantTracks().filter((track) => track.height === height);
        player.selectVariantTrack(same.find((track) => track.language === active.language) ?? same[0], true);
      },
      audio: () => [...new Set(player.getAudioTracks().map((track) => track.language))],
      chooseAudio: (language) => player.selectAudioTrack(player.getAudioTracks().find((track) => track.language === language)),
      currentAudio: () => player.getAudioTracks().find((track) => track.active)?.language,
      latency: () => (Date.now() - player.getPlayheadTimeAsDate().getTime()) / 1000,
      thumbnail: async (time) => {
        const [track] = player.getImageTracks();
        const found = await player.getThumbnails(track?.id ?? null, time);
        return found && { url: found.uris[0], x: found.positionX, y: found.positionY, width: found.width, height: found.height };
      },
      text: () => player.getTextTracks().map((track) => track.language),
      captions: () => player.getTextTracks().filter((track) => /cea-?[67]08/.test(track.mimeType ?? '')).map((track) => track.originalTextId),
      showCaptions: (name) => player.selectTextTrack(player.getTextTracks().find((track) => track.originalTextId === name)),
      trickPlay: (rate) => (rate === 1 ? player.cancelTrickPlay() : player.trickPlay(rate, true)),
      chooseText: async (language) => {
        player.selectTextTrack(player.getTextTracks().find((track) => track.language === language));
        // A jump while the first fragment of a new choice is on its way: Shaka Player 5.2 loads that one again, and none after it.
        await new Promise((done) => setTimeout(done, 500));
      },
    };
  },
};

// The browser itself.
players.video = () => ({
  open: (url) => new Promise((resolve, reject) => {
    video.addEventListener('loadedmetadata', resolve);
    video.addEventListener('error', () => reject(video.error));
    video.src = url;
  }),
});

players.rx = () => {
  const player = new RxPlayer({ videoElement: video });
  // Among the browser's own text tracks rx-player's is not to be found: it takes it out of the page when it begins to load text.
  const words = document.body.appendChild(document.createElement('div'));
  setInterval(() => {
    const text = words.innerText.trim();
    if (text) see(text, video.currentTime, video.currentTime);
  }, 50);
  player.addEventListener('error', (error) => record.errors.push(`rx ${error.code} ${error.message}`));
  return {
    open: (url) => new Promise((resolve) => {
      player.addEventListener('playerStateChange', (state) => { if (state === 'LOADED') resolve(); });
      player.addEventListener('error', resolve);
      const transport = url.includes('.mpd') ? 'dash' : 'smooth';
      player.loadVideo({ url, transport, autoPlay: false, textTrackMode: 'html', textTrackElement: words });
    }),
    text: () => player.getAvailableTextTracks().map((track) => track.language),
    chooseText: (language) => player.setTextTrack(player.getAvailableTextTracks().find((track) => track.language === language).id),
  };
};

window.make = (name) => {
  const player = players[name]();
  window.player = {
    ...player,
    open: async (url) => {
      try {
        await player.open(url);
      } catch (error) {
        record.errors.push(`open: ${error.code ?? ''} ${error.message ?? error}`);
      }
    },
    // Nobody waits for it: it ends when there is something to play, which may be never.
    play: () => { video.play().catch((error) => record.errors.push(`play: ${error.message}`)); },
  };
};
