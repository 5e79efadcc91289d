//! One track of a channel: from its publisher's samples to what is on its shelf.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::options::SessionId;
use super::received::Received;
use super::segmenter::{self, Cut, Made, Segmenter, Timed, part_target};
use super::shelf::{Init, Shelf};
use super::snapshot::TrackSnapshot;
use super::state::SavedTrack;
use super::timeline::{Anchor, Continuity, JUMP_SAMPLES, LEARN_STEPS_MIN, Lattice, Nanos, Pace, Verdict, to_nanos};
use crate::base::limits::LIVE_JUMP;
use crate::base::units::rescale_nearest;
use crate::base::{Ticks, Timescale};
use crate::media::broadcast::{Bitrate, Grid};
use crate::media::codec::{self, Description, Framing};
use crate::media::feed::{Format, Sample};
use crate::media::fragment::Start;
use crate::media::isobmff::Matrix;
use crate::media::isobmff::write::{Header, header};
use crate::media::track::Details;
use crate::media::{Kind, Track};

pub struct TrackWriter {
    pub id: Arc<str>,
    pub format: Format,
    /// Who publishes it.
    pub owner: SessionId,
    /// Known from the first sample of a format on.
    description: Option<Description>,
    first_sample: Bytes,
    pub learnt: Option<Learnt>,
    /// What holds for the segments being made: as `learnt`, but for a format that is still being learnt.
    pub shown: Option<Learnt>,
    /// What is saved of the track while another format is being learnt: a restart finds what was recorded by it.
    saved: Option<SavedTrack>,
    /// Samples from which the frame rate is learnt.
    held: Vec<Held>,
    /// Samples whose times may be slips of the publisher's clock.
    suspects: Vec<Sample>,
    continuity: Continuity,
    /// The time of the newest sample that was none, on the publisher's clock.
    steady: Option<Ticks>,
    /// When that came.
    steady_at: Duration,
    received: Received,
    anchor: Option<Anchor>,
    lattice: Lattice,
    /// Where the newest sample went.
    last: Option<Ticks>,
    /// How much later the lattice may lie for its samples, of those that wait for the grid: see [`TrackWriter::even_out`].
    room: Option<i64>,
    /// The media time it had, before it was put on the lattice.
    newest: Option<Ticks>,
    off: Option<Off>,
    /// The same of the publisher before, until the one that follows has sent what that one had not.
    handed_over: Option<Ticks>,
    /// Samples that wait for the grid.
    pub queue: Vec<Timed>,
    pub segmenter: Option<Segmenter>,
    pub shelf: Shelf,
    meter: Meter,
    /// When its newest sample came.
    pub heard: Duration,
    /// Bytes in `held`, `suspects` and `queue`.
    pub waiting_bytes: usize,
}

/// How much later the times of an encoder's samples are than where they were put.
#[derive(Clone, Copy)]
struct Off {
    /// Of its first sample, and of all so far.
    first: i64,
    least: i64,
    most: i64,
}

impl Off {
    fn new(off: i64) -> Off {
        Off { first: off, least: off, most: off }
    }

    fn and(self, off: i64) -> Off {
        Off { least: self.least.min(off), most: self.most.max(off), ..self }
    }
}

/// What is known of a track once its first samples were seen.
#[derive(Clone)]
pub struct Learnt {
    pub pace: Pace,
    /// Composition offset of the first key frame, in track ticks: added to decode times, and taken away by the edit list.
    pub reorder: i64,
    pub track: Arc<Track>,
    pub init: Arc<Init>,
}

struct Held {
    sample: Sample,
    anchor: Anchor,
}

/// The bit rate, until it is settled.
#[derive(Clone, Copy, Default)]
struct Meter {
    rate: Bitrate,
    segments: u32,
    bits: f64,
    seconds: f64,
    peak: f64,
    /// Key frames that were measured, and the largest of them.
    key_frames: u32,
    key_frame_size: u32,
    open: Measured,
}

/// What was cut of the segment that is being made; after a restart, since then.
#[derive(Clone, Copy, Default)]
struct Measured {
    bits: f64,
    duration: Ticks,
    /// As in [`crate::media::broadcast::SegmentView`].
    key_frame_size: u32,
}

/// Of text whose encoder states no rate, in bits a second: more than speech takes as WebVTT or TTML, and nothing beside sound.
const TEXT_RATE: u64 = 20_000;

/// Segments after which a measured bit rate is settled.
const METER_SEGMENTS: u32 = 3;

/// Behind so long without a sample, and no less than two frames, another encoder may have sent the next.
const HOLE: Duration = Duration::from_millis(500);
/// What the times of an encoder that goes on are off, at most.
const TOLERANCE: Duration = Duration::from_millis(2);

/// Samples in a row whose times make no sense, but for those of a clock that was set anew: the oldest are let go.
const SUSPECTS_MAX: usize = 16;

/// Of a first sample, for describing the track again.
const FIRST_SAMPLE_BYTES: usize = 1_024;

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Fine,
    /// Frames are missing before it.
    Gap,
    /// It was of no use: out of order, or before a key frame.
    Dropped,
}

impl TrackWriter {
    pub fn new(id: Arc<str>, format: Format, owner: SessionId, now: Duration) -> TrackWriter {
        let meter = Meter::declared(&format);
        TrackWriter {
            id,
            format,
            owner,
            description: None,
            first_sample: Bytes::new(),
            learnt: None,
            saved: None,
            shown: None,
            held: Vec::new(),
            suspects: Vec::new(),
            continuity: Continuity::default(),
            steady: None,
            steady_at: now,
            received: Received::default(),
            anchor: None,
            lattice: Lattice::default(),
            last: None,
            room: None,
            newest: None,
            off: None,
            handed_over: None,
            queue: Vec::new(),
            segmenter: None,
            shelf: Shelf::default(),
            meter,
            heard: now,
            waiting_bytes: 0,
        }
    }

    /// A track as it was before a restart. `None` if what was saved makes no sense.
    pub fn restore(saved: &SavedTrack, now: Duration) -> Option<TrackWriter> {
        let format = saved.format()?;
        let mut track = TrackWriter::new(saved.id.as_str().into(), format, SessionId(0), now);
        track.first_sample = saved.first_sample()?.into();
        track.describe().ok()?;
        track.settle_learnt(saved.pace()?, saved.reorder)?;
        track.off = saved.off.map(Off::new);
        track.meter = Meter { rate: saved.rate(), ..Meter::default() }.with_key_frame(saved.key_frame_size);
        Some(track)
    }

    pub fn save(&self) -> Option<SavedTrack> {
        let lead = self.shelf.lead.iter().map(|span| (span.number, span.time.0, span.end.0)).collect();
        let Some(learnt) = &self.learnt else { return self.saved.clone().map(|saved| SavedTrack { lead, ..saved }) };
        let meter = &self.meter;
        let saved =
            SavedTrack::of(&self.id, &self.format, &self.first_sample, &learnt.pace, learnt.reorder, meter.rate);
        let key_frame_size = if meter.key_frames >= METER_SEGMENTS { meter.key_frame_size } else { 0 };
        Some(SavedTrack { key_frame_size, off: self.off(), lead, ..saved })
    }

    /// A publisher begins, or begins again, to send this track.
    pub fn enter(&mut self, owner: SessionId, format: Format) {
        self.owner = owner;
        (self.continuity, self.anchor, self.steady) = (Continuity::default(), None, None);
        self.handed_over = self.newest;
        self.forget_waiting();
        if let Some(segmenter) = &mut self.segmenter {
            segmenter.need_key();
        }
        self.change(format);
    }

    /// What follows is in this format.
    pub fn change(&mut self, format: Format) {
        if self.format != format {
            self.saved = self.save();
            let declared = Meter::declared(&format);
            self.meter = match () {
                () if self.meter.rate.is_settled && same_coding(&self.format, &format) => self.meter,
                () if declared.rate.is_settled => declared,
                () => Meter { rate: Bitrate { is_settled: false, ..self.meter.rate }, ..declared },
            };
            if !same_coding(&self.format, &format) {
                self.learnt = None;
                self.description = None;
            }
            self.format = format;
        }
    }

    /// The publisher's clock was set anew, or its first sample came: the samples that follow count from here.
    pub fn anchor_at(&mut self, anchor: Anchor) {
        self.anchor = Some(anchor);
    }

    /// The clock was set anew, as the tracks beside this one have shown. Returns the samples that were kept back, for they did
    /// not go on from those before.
    pub fn follow(&mut self, anchor: Anchor) -> Vec<Sample> {
        (self.anchor, self.continuity) = (Some(anchor), Continuity::default());
        std::mem::take(&mut self.suspects)
    }

    /// What its publisher's clock was brought to media time by, once it has sent something.
    pub fn anchor(&self) -> Option<Anchor> {
        self.anchor
    }

    /// Whether a sample came before, and is sent again.
    pub fn is_sent_again(&mut self, sample: &Sample, now: Duration) -> bool {
        self.received.is_sent_again(sample, self.format.timescale, now)
    }

    /// Judges a sample by its publisher's clock. Those to be taken now are returned, in order, with whether the clock has to
    /// be anchored at the first of them.
    pub fn judge(&mut self, sample: Sample, now: Duration) -> (Vec<Sample>, bool) {
        let (time, newest) = (self.nanos(&sample), sample.decode_time);
        let pause = match self.format.kind {
            Kind::Text => Some(now.saturating_sub(self.steady_at)),
            _ => None,
        };
        let verdict = self.continuity.judge(time, pause);
        let mut samples = Vec::new();
        match verdict {
            Verdict::Suspect => {
                if self.suspects.len() == SUSPECTS_MAX {
                    self.suspects.remove(0);
                }
                self.suspects.push(sample);
                return (samples, false);
            }
            Verdict::Goes => {}
            // Pictures refer to each other: one whose time is wrong is as good as any, between those whose times are not.
            Verdict::Slipped => {
                samples = std::mem::take(&mut self.suspects);
                let begin = self.steady.unwrap_or(newest).0;
                let (room, places) = (newest.0 - begin, samples.len() as i64 + 1);
                for (place, slipped) in (1..).zip(&mut samples) {
                    slipped.decode_time = Ticks(begin + room * place / places);
                }
            }
            Verdict::Leapt => {
                samples = std::mem::take(&mut self.suspects);
                let strays = samples.len().saturating_sub(1);
                samples.drain(..strays);
            }
            Verdict::Jumped => {
                // Those that do not go on from each other are of neither clock.
                samples = std::mem::take(&mut self.suspects);
                let strays = samples.len().saturating_sub(JUMP_SAMPLES as usize - 1);
                samples.drain(..strays);
            }
        }
        (self.steady, self.steady_at) = (Some(newest), now);
        samples.push(sample);
        (samples, verdict == Verdict::Jumped || self.anchor.is_none())
    }

    pub fn nanos(&self, sample: &Sample) -> Nanos {
        to_nanos(sample.decode_time, self.format.timescale)
    }

    /// Whether its publisher's clock shows that time, to within a second.
    pub fn is_at(&self, time: Nanos) -> bool {
        let newest = self.steady.map(|steady| to_nanos(steady, self.format.timescale));
        newest.is_some_and(|newest| (newest - time).abs() <= 1_000_000_000)
    }

    /// Whether what its publisher's clock showed last and that time could be of one clock that was not set anew.
    pub fn is_near(&self, time: Nanos) -> bool {
        let newest = self.steady.map(|steady| to_nanos(steady, self.format.timescale));
        newest.is_some_and(|newest| (newest - time).unsigned_abs() <= LIVE_JUMP.as_nanos())
    }

    /// Where a sample goes, in media time, if it shows that its encoder was started anew though its clock goes on: its frames lie
    /// elsewhere between those of before, which had lain where they should. After a lost connection, those of the same encoder
    /// lie where they did.
    pub fn begins_anew(&self, sample: &Sample) -> Option<Nanos> {
        let (learnt, last, anchor) = (self.learnt.as_ref()?, self.last?, self.anchor?);
        let (timescale, input) = (learnt.pace.timescale, self.format.timescale);
        let frame = self.lattice.pace(learnt.pace).frame?;
        let time = anchor.media_time(sample.decode_time, input, timescale).0.saturating_add(learnt.reorder);
        if !is_behind_hole(Ticks(time), last, &learnt.pace) {
            return None;
        }
        // A tick at either end, of a clock that need not round to the nearest.
        let tick = i64::from(timescale.per_second().div_ceil(input.per_second()));
        let tolerance = (2 * tick).max(timescale.ticks_floor(TOLERANCE).0);
        let was = self.off.filter(|was| was.most - was.least <= tolerance)?;
        let was_off = self.newest.map_or(was.first, |newest| newest.0 - last.0);
        let off = time.saturating_sub(last.0).saturating_sub(was_off).rem_euclid(frame);
        let is_elsewhere = off.min(frame - off) > tolerance;
        is_elsewhere.then(|| to_nanos(Ticks(time - learnt.reorder), timescale))
    }

    /// How much later the first sample of its encoder is than where it was put.
    pub fn off(&self) -> Option<i64> {
        self.off.map(|off| off.first)
    }

    /// Where the media ends that parts were made of.
    pub fn made(&self) -> Option<Nanos> {
        let learnt = self.shown.as_ref()?;
        Some(to_nanos(self.segmenter.as_ref()?.made(), learnt.pace.timescale))
    }

    /// Where its published and waiting media ends.
    pub fn end(&self) -> Option<Nanos> {
        let learnt = self.shown.as_ref().or(self.learnt.as_ref())?;
        let end = self.last.map(|last| Ticks(last.0 + learnt.pace.frame.unwrap_or(0) - learnt.reorder));
        let end = end.or_else(|| self.shelf.end_time().map(|end| Ticks(end.0 - learnt.reorder)))?;
        Some(to_nanos(end, learnt.pace.timescale))
    }

    /// Takes a sample behind [`TrackWriter::judge`]. `hold` is how much media is waited for to learn the frame rate.
    ///
    /// # Errors
    /// The codec configuration makes no sense.
    pub fn take(&mut self, sample: Sample, hold: Duration, cuts: &mut Vec<Cut>) -> Result<Taken, codec::Error> {
        let anchor = self.anchor.unwrap_or(Anchor::WALL_CLOCK);
        if self.learnt.is_some() {
            return Ok(self.place(sample, anchor, cuts));
        }
        if self.description.is_none() {
            self.first_sample = sample.data.slice(..sample.data.len().min(FIRST_SAMPLE_BYTES));
            self.describe()?;
        }
        let is_key = self.start(&sample).is_some();
        if self.held.is_empty() && self.format.kind == Kind::Video && !is_key {
            return Ok(Taken::Dropped);
        }
        let first = self.held.first().map_or(sample.decode_time, |held| held.sample.decode_time);
        let span = self.format.timescale.duration(Ticks(sample.decode_time.0.saturating_sub(first.0)));
        // Another format of a track that is on air goes on at once: that the rate is another, too, shows by itself.
        let is_known = self.shown.is_some();
        let is_long = (!self.held.is_empty() && is_key) || span >= hold;
        let enough = self.format.kind != Kind::Video || is_known || (is_long && self.held.len() > LEARN_STEPS_MIN);
        self.waiting_bytes += sample.data.len();
        self.held.push(Held { sample, anchor });
        Ok(if enough { self.learn(cuts) } else { Taken::Fine })
    }

    /// Makes do with the samples there are.
    pub fn learn(&mut self, cuts: &mut Vec<Cut>) -> Taken {
        let Some(description) = &self.description else { return Taken::Dropped };
        let mut held = std::mem::take(&mut self.held);
        let Some(first) = held.first() else { return Taken::Dropped };
        let input = self.format.timescale;
        let pace = match &description.framing {
            Framing::Audio { frame_length } => {
                let rate = match &description.details {
                    Details::Audio(audio) => Timescale::new(audio.sample_rate),
                    _ => None,
                };
                match (rate, *frame_length) {
                    (Some(rate), Some(length)) if length > 0 => {
                        Pace { timescale: rate, frame: Some(i64::from(length)) }
                    }
                    (rate, _) => {
                        Pace { timescale: rate.filter(|_| input.per_second() < 8_000).unwrap_or(input), frame: None }
                    }
                }
            }
            Framing::Text => Pace { timescale: input, frame: None },
            _ => match &self.shown {
                Some(shown) if self.format.kind == Kind::Video => shown.pace,
                _ => {
                    let anchor = first.anchor;
                    let of_clock = |held: &&mut Held| held.anchor == anchor;
                    let mut times: Vec<_> =
                        held.iter_mut().filter(of_clock).map(|held| held.sample.decode_time).collect();
                    let pace = Pace::learn_settled(&mut times, input);
                    for (held, time) in held.iter_mut().filter(of_clock).zip(times) {
                        held.sample.decode_time = time;
                    }
                    pace
                }
            },
        };
        let pace = self.kept_timescale(pace);
        let reorder = match self.format.kind {
            Kind::Video => held.first().map_or(0, |first| offset(&first.sample, input, &pace).max(0)),
            _ => 0,
        };
        if self.settle_learnt(pace, i64::from(reorder)).is_none() {
            return Taken::Dropped;
        }
        self.meter.guess(&held, input);
        let mut taken = Taken::Fine;
        for held in held {
            self.waiting_bytes -= held.sample.data.len().min(self.waiting_bytes);
            taken = self.place(held.sample, held.anchor, cuts);
        }
        taken
    }

    /// A track has one timescale for as long as it lives, whatever formats follow each other: the times of its segments are
    /// compared. Frames that are no whole number of its ticks are not put on a lattice.
    fn kept_timescale(&self, pace: Pace) -> Pace {
        let Some(timescale) = self.shown.as_ref().map(|shown| shown.pace.timescale) else { return pace };
        let (from, to) = (i64::from(pace.timescale.per_second()), i64::from(timescale.per_second()));
        let frame = pace.frame.filter(|frame| frame * to % from == 0).map(|frame| frame * to / from);
        Pace { timescale, frame }
    }

    fn place(&mut self, sample: Sample, anchor: Anchor, cuts: &mut Vec<Cut>) -> Taken {
        let start = self.start(&sample);
        let Some(learnt) = &self.learnt else { return Taken::Dropped };
        let (pace, input) = (learnt.pace, self.format.timescale);
        let time = anchor.media_time(sample.decode_time, input, pace.timescale);
        let time = Ticks(time.0.saturating_add(learnt.reorder));
        // What both publishers have had is there once, though the milliseconds of their clocks were rounded differently.
        if let (Some(before), Some(frame)) = (self.handed_over, pace.frame)
            && time.0 < before.0 + frame / 2
        {
            return Taken::Dropped;
        }
        let last = self.last;
        let placed = match self.format.kind {
            Kind::Video => self.lattice.place(pace, time, last),
            _ => pace.place(time, last),
        };
        let Some(placed) = placed else { return Taken::Dropped };
        let pace = self.lattice.pace(pace);
        if placed.0 < 0 {
            return Taken::Dropped;
        }
        self.handed_over = None;
        let duration = sample.duration.and_then(|duration| {
            let duration = rescale_nearest(Ticks(i64::from(duration)), input, pace.timescale)?.0;
            (duration > 0).then_some(pace.frame.unwrap_or(duration))
        });
        let timed = Timed {
            time: placed,
            duration,
            composition_offset: offset(&sample, input, &pace),
            start,
            data: sample.data,
        };
        let is_gap = pace.frame.zip(last).is_some_and(|(frame, last)| placed.0 - last.0 > frame);
        let is_of_use = match &mut self.segmenter {
            Some(segmenter) => segmenter.push(timed, cuts),
            None => {
                // Of what lies on the lattice, through a clock that is coarser.
                let tick = i64::from(pace.timescale.per_second().div_ceil(input.per_second()));
                let room = time.0 - placed.0;
                if pace.frame.is_some() && room.abs() <= tick {
                    self.room = self.room.max(Some(room));
                }
                self.waiting_bytes += timed.data.len();
                self.queue.push(timed);
                true
            }
        };
        if !is_of_use {
            return Taken::Dropped;
        }
        // What was dropped, as the first picture of a publisher that lies far off, is nothing that others lie behind.
        (self.last, self.newest) = (Some(placed), Some(time));
        let off = time.0 - placed.0;
        let goes_on = last.is_some_and(|last| !is_behind_hole(placed, last, &pace));
        self.off = Some(self.off.filter(|_| goes_on).map_or(Off::new(off), |known| known.and(off)));
        if is_gap { Taken::Gap } else { Taken::Fine }
    }

    /// Puts the lattice of what waits for the grid where the latest of it lies. From where its first sample lies, it would be
    /// off by what a clock of milliseconds was rounded by there; and a twin that begins with another sample would cut
    /// elsewhere.
    pub fn even_out(&mut self) {
        let Some(room) = self.room.take().filter(|room| *room > 0) else { return };
        for timed in &mut self.queue {
            timed.time.0 += room;
        }
        self.last = self.last.map(|last| Ticks(last.0 + room));
    }

    /// The grid is known: what waited for it goes on, from number `next` on and no sooner than `ended`.
    pub fn begin(&mut self, grid: Grid, next: u64, ended: Ticks, cuts: &mut Vec<Cut>) {
        let Some(learnt) = &self.learnt else { return };
        let mut segmenter = self.segmenter(learnt, grid, next);
        segmenter.follow(ended);
        self.shown = Some(learnt.clone());
        for timed in std::mem::take(&mut self.queue) {
            segmenter.push(timed, cuts);
        }
        self.waiting_bytes = 0;
        self.segmenter = Some(segmenter);
    }

    fn segmenter(&self, learnt: &Learnt, grid: Grid, next: u64) -> Segmenter {
        Segmenter::new(self.format.kind, learnt.pace, grid, next)
            .with_nothing(segmenter::nothing(&self.format.sample_entry))
    }

    /// Goes on with the open segment of the shelf, or behind its last one.
    pub fn resume(&mut self, grid: Grid, origin: u64) {
        let Some(learnt) = &self.learnt else { return };
        let newest = self.shelf.tail.last();
        let next = newest.map_or(origin, |segment| segment.number + u64::from(segment.is_complete));
        let mut segmenter = self.segmenter(learnt, grid, next);
        segmenter.follow(self.shelf.end_time().unwrap_or_default());
        if let Some(segment) = newest.filter(|segment| !segment.is_complete) {
            let end = Ticks(segment.time.0 + segment.duration.0);
            segmenter.resume(segment.number, segment.time, segment.is_independent, end, segment.parts.len() as u32);
        }
        self.shown = Some(learnt.clone());
        self.last = self.shelf.end_time().map(|end| Ticks(end.0 - learnt.pace.frame.unwrap_or(1)));
        self.segmenter = Some(segmenter);
    }

    /// Samples that were held back are of no use any more.
    pub fn forget_waiting(&mut self) {
        self.held.clear();
        self.suspects.clear();
        if self.segmenter.is_some() {
            self.queue.clear();
        }
        self.waiting_bytes = self.queue.iter().map(|timed| timed.data.len()).sum();
    }

    /// Whether samples are held back that are enough to learn from, though more would be better. Of a few pictures before a
    /// hole nobody knows the rate, and so not how long parts are.
    pub fn could_learn(&self) -> bool {
        let least = if self.format.kind == Kind::Video { LEARN_STEPS_MIN } else { 0 };
        self.learnt.is_none() && self.held.len() > least
    }

    /// Measures what was cut, whether or not the disk lags behind: servers of one encoder, whose disks are not equally fast, say
    /// the same. Returns whether what is known of the track has come to stay by this.
    pub fn measure(&mut self, cuts: &[Cut]) -> bool {
        let (Some(learnt), Some(shown)) = (&self.learnt, &self.shown) else { return false };
        // What is left of the format before says nothing of this one.
        if learnt.init.name != shown.init.name {
            return false;
        }
        let (timescale, is_video) = (learnt.pace.timescale, self.format.kind == Kind::Video);
        let mut is_settled = false;
        for cut in cuts {
            match cut {
                Cut::Part(made) => self.meter.part(made),
                Cut::End(_) => {
                    let open = std::mem::take(&mut self.meter.open);
                    is_settled |= self.meter.add(open.bits, timescale.seconds(open.duration));
                    is_settled |= is_video && self.meter.add_key_frame(open.key_frame_size);
                }
            }
        }
        is_settled
    }

    /// `is_over`: the channel has ended.
    pub fn snapshot(&self, grid: &Grid, is_over: bool) -> Option<Arc<TrackSnapshot>> {
        let learnt = self.shown.as_ref()?;
        (!self.shelf.is_empty()).then(|| {
            Arc::new(TrackSnapshot {
                track: learnt.track.clone(),
                rate: self.meter.rate,
                key_frame_size: self.meter.key_frame_size,
                part_target: part_target(grid, &learnt.pace),
                watch: self.shelf.watch.clone(),
                files: self.shelf.files.clone(),
                tail: self.shelf.shown(is_over),
                places: self.shelf.places.clone(),
                lead: self.shelf.lead.clone(),
            })
        })
    }

    fn start(&self, sample: &Sample) -> Option<Start> {
        match &self.description {
            Some(description) => description.random_access(&sample.data, sample.is_sync),
            None => sample.is_sync.then_some(Start::Closed),
        }
    }

    fn describe(&mut self) -> Result<(), codec::Error> {
        self.description = Some(codec::describe(&self.id, &self.format.sample_entry, 0, &self.first_sample)?);
        Ok(())
    }

    fn settle_learnt(&mut self, pace: Pace, reorder: i64) -> Option<()> {
        let description = self.description.as_ref()?;
        let mut details = description.details.clone();
        let (mut width, mut height) = (0, 0);
        if let Details::Video(video) = &mut details {
            video.frame_rate = pace.frame.map_or((0, 1), |frame| {
                let (mut a, mut b) = (u64::from(pace.timescale.per_second()), frame.max(1) as u64);
                let rate = (a, b);
                while b > 0 {
                    (a, b) = (b, a % b);
                }
                ((rate.0 / a) as u32, (rate.1 / a) as u32)
            });
            let (across, down) = video.pixel_aspect;
            // Stretched, never shrunk (ISO/IEC 14496-12 §8.3.2: `tkhd` holds the size as it is shown).
            let stretch = |size: u32, by: u32, of: u32| {
                u32::try_from(u64::from(size) * u64::from(by) / u64::from(of.max(1))).unwrap_or(size)
            };
            (width, height) = match across >= down {
                true => (stretch(video.width, across, down), video.height),
                false => (video.width, stretch(video.height, down, across)),
            };
        }
        let init = header(&Header {
            timescale: pace.timescale,
            sample_entry: &description.sample_entry,
            kind: self.format.kind,
            language: &self.format.language,
            name: self.format.name.as_deref(),
            media_start: reorder.max(0) as u64,
            width,
            height,
            matrix: Matrix::default(),
            default_duration: pace.frame.and_then(|frame| u32::try_from(frame).ok()).unwrap_or(0),
            fragment_duration_hint: None,
        });
        let track = Track {
            id: self.id.to_string(),
            timescale: pace.timescale,
            codec: description.codec.clone(),
            language: self.format.language.clone(),
            name: self.format.name.clone(),
            role: self.format.role,
            presentation_offset: Ticks(-reorder),
            details,
        };
        (self.lattice, self.off) = (Lattice::default(), None);
        self.learnt = Some(Learnt { pace, reorder, track: Arc::new(track), init: Arc::new(Init::new(init.into())) });
        Some(())
    }
}

/// Whether so much is missing between two samples that they may be of two encoders.
fn is_behind_hole(time: Ticks, last: Ticks, pace: &Pace) -> bool {
    let frames = pace.frame.unwrap_or(0).saturating_mul(2);
    time.0.saturating_sub(last.0) > frames.max(pace.timescale.ticks_floor(HOLE).0)
}

/// Whether samples of one format go on in the other.
fn same_coding(a: &Format, b: &Format) -> bool {
    let key = |format: &Format| {
        (format.kind, format.timescale, format.sample_entry.clone(), format.language.clone(), format.name.clone())
    };
    key(a) == key(b) && a.role == b.role
}

/// Composition offset in track ticks; whole frames where frames are equally long.
fn offset(sample: &Sample, input: Timescale, pace: &Pace) -> i32 {
    let offset = rescale_nearest(Ticks(i64::from(sample.composition_offset)), input, pace.timescale).map_or(0, |o| o.0);
    let offset = match pace.frame {
        Some(frame) => (offset + frame / 2).div_euclid(frame) * frame,
        None => offset,
    };
    i32::try_from(offset).unwrap_or(0)
}

impl Meter {
    fn declared(format: &Format) -> Meter {
        match format.bit_rate {
            Some(rate) if rate > 0 => {
                let rate = round_up(f64::from(rate));
                Meter { rate: Bitrate { peak: rate, average: rate, is_settled: true }, ..Meter::default() }
            }
            // What is said in a few segments tells nothing of the next ones, and two servers would measure others.
            _ if format.kind == Kind::Text => {
                Meter { rate: Bitrate { peak: TEXT_RATE, average: TEXT_RATE, is_settled: true }, ..Meter::default() }
            }
            _ => Meter::default(),
        }
    }

    /// From samples that were held back: better than nothing, until segments were measured.
    fn guess(&mut self, held: &[Held], input: Timescale) {
        let (Some(first), Some(last)) = (held.first(), held.last()) else { return };
        if self.rate.is_settled || self.rate.peak > 0 {
            return;
        }
        let bits: f64 = held.iter().map(|held| held.sample.data.len() as f64 * 8.0).sum();
        let seconds = input.seconds(Ticks(last.sample.decode_time.0.saturating_sub(first.sample.decode_time.0)));
        let rate = round_up(if seconds > 0.1 { bits / seconds } else { 128_000.0 });
        self.rate = Bitrate { peak: rate, average: rate, is_settled: false };
    }

    fn part(&mut self, made: &Made) {
        self.open.bits += f64::from(made.size) * 8.0;
        self.open.duration.0 += made.duration.0;
        if made.index == 0 && made.segment_is_independent {
            self.open.key_frame_size = made.first_sample_size;
        }
    }

    /// Returns whether the rate is settled by this.
    fn add(&mut self, bits: f64, seconds: f64) -> bool {
        if self.rate.is_settled || seconds <= 0.0 {
            return false;
        }
        self.segments += 1;
        (self.bits, self.seconds) = (self.bits + bits, self.seconds + seconds);
        self.peak = self.peak.max(bits / seconds);
        let is_settled = self.segments >= METER_SEGMENTS;
        if is_settled {
            let average = round_up(self.bits / self.seconds);
            self.rate = Bitrate { peak: round_up(self.peak), average, is_settled };
        }
        is_settled
    }

    /// Settled, if the size is known.
    fn with_key_frame(self, size: u32) -> Meter {
        Meter { key_frames: if size > 0 { METER_SEGMENTS } else { 0 }, key_frame_size: size, ..self }
    }

    /// As with the rate, what comes first says it (RFC 8216bis §4.4.6.2: a representative period). It is said anew when the
    /// pictures have become so much larger that it would mislead, and not for each that is a little larger than any before:
    /// servers that have missed another one of them still agree. Returns whether it is settled by this.
    fn add_key_frame(&mut self, size: u32) -> bool {
        if size == 0 {
            return false;
        }
        let is_settled = self.key_frames >= METER_SEGMENTS;
        if is_settled && size <= self.key_frame_size.saturating_add(self.key_frame_size / 2) {
            return false;
        }
        self.key_frames += 1;
        self.key_frame_size = self.key_frame_size.max(round_up(f64::from(size)).min(u64::from(u32::MAX)) as u32);
        self.key_frames >= METER_SEGMENTS
    }
}

/// To two significant digits.
fn round_up(rate: f64) -> u64 {
    let rate = rate.ceil().clamp(1.0, 1e12) as u64;
    let step = 10_u64.pow(rate.ilog10().saturating_sub(1));
    rate.div_ceil(step) * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_key_frames_is_that_of_the_first_until_it_would_mislead() {
        for (name, sizes, want, settled) in [
            ("none", &[0, 0][..], 0, &[false, false][..]),
            ("two", &[9_801, 7_000], 9_900, &[false, false]),
            ("three", &[9_801, 10_001, 0, 7_000], 11_000, &[false, false, false, true]),
            ("a little larger", &[10_000, 10_000, 10_000, 15_000], 10_000, &[false, false, true, false]),
            ("much larger", &[10_000, 10_000, 10_000, 15_001, 5], 16_000, &[false, false, true, true, false]),
            ("the largest", &[1, 1, u32::MAX], u32::MAX, &[false, false, true]),
        ] {
            let mut meter = Meter::default();
            let found: Vec<_> = sizes.iter().map(|&size| meter.add_key_frame(size)).collect();
            assert_eq!((meter.key_frame_size, found.as_slice()), (want, settled), "{name}");
            // After a restart that of the first three is kept.
            let mut again = Meter::default().with_key_frame(meter.key_frame_size);
            if meter.key_frames >= METER_SEGMENTS {
                assert!(!again.add_key_frame(1) && again.key_frame_size == want, "{name}");
            }
        }
    }
}
