use super::*;

type Failure = std::convert::Infallible;

fn sample(decode_time: i64, duration: u32, composition_offset: i32, sync: bool) -> SourceSample {
    SourceSample { offset: 0, size: 10, decode_time, duration, composition_offset, sync, flags: 0, recovery: None }
}

fn survey(samples: &[SourceSample], edit: Edit, scale: u32, video: bool) -> Result<Timeline, Error<Failure>> {
    let closed: &dyn Fn(&SourceSample) -> Option<Start> = &|sample| sample.sync.then_some(Start::Closed);
    let source = || samples.iter().map(|sample| Ok(*sample));
    Timeline::survey(source, edit, Timescale::new(scale).unwrap(), video.then_some(closed))
}

fn edit(media_start: i64, start_delay_nanos: i64, presented: Option<i64>) -> Edit {
    Edit { media_start, start_delay_nanos, presented }
}

/// A GOP of I B P in decode order I P B, every 1000 ticks, as encoders write it: shifted by one frame.
fn gops(count: i64) -> Vec<SourceSample> {
    gops_of(count, 1_000)
}

fn gops_of(count: i64, ticks: i64) -> Vec<SourceSample> {
    let picture = |number: i64, offset, sync| sample(number * ticks, ticks as u32, offset * ticks as i32, sync);
    (0..count * 3)
        .step_by(3)
        .flat_map(|at| [picture(at, 1, true), picture(at + 1, 2, false), picture(at + 2, 0, false)])
        .collect()
}

#[test]
fn reorder_delay_is_shifted_away() {
    let timeline = survey(&gops(2), edit(1_000, 0, None), 25_000, true).unwrap();
    assert_eq!((timeline.composition_shift, timeline.priming, timeline.start_nanos), (1_000, 0, 0));
    assert_eq!((timeline.rows.clone(), timeline.length, timeline.rate), (0..6, 6_000, (25, 1)));
    assert_eq!(timeline.presented_nanos(4_000), 120_000_000);
    // Without an edit list the first picture is late on the source's clock, and still first in the track file.
    let timeline = survey(&gops(2), Edit::default(), 25_000, true).unwrap();
    assert_eq!((timeline.composition_shift, timeline.priming, timeline.start_nanos), (1_000, 0, 40_000_000));
    assert_eq!(timeline.reorder, 1_000);
}

#[test]
fn negative_offsets_mean_the_same() {
    let mut signed = gops(2);
    signed.iter_mut().for_each(|sample| sample.composition_offset -= 1_000);
    let timeline = survey(&signed, Edit::default(), 25_000, true).unwrap();
    assert_eq!((timeline.composition_shift, timeline.reorder), (0, 1_000));
    assert_eq!((timeline.priming, timeline.start_nanos), (0, 0));
}

/// (decode time, duration, presentation time) of every imported row.
fn written(timeline: &Timeline, samples: &[SourceSample]) -> Vec<(i64, u32, i64)> {
    let mut rows = Retimed::new(samples.iter().map(|sample| Ok::<_, Failure>(*sample)));
    let mut written = Vec::new();
    while let Some((row, sample)) = rows.next().unwrap() {
        if timeline.rows.contains(&row) {
            let times = timeline.times(row, &sample);
            written.push((times.decode_time, times.duration, times.decode_time + times.composition_offset));
        }
    }
    written
}

#[test]
fn an_edit_list_that_cuts_into_a_group_squeezes_what_decoding_needs() {
    // Presentation begins with the second picture of the third GOP; the first two GOPs are not needed.
    let timeline = survey(&gops(4), edit(8_000, 0, None), 25_000, true).unwrap();
    assert_eq!(timeline.rows, 6..12);
    assert_eq!((timeline.priming, timeline.length, timeline.rate), (0, 5_000, (25, 1)));
    assert_eq!((timeline.start_nanos, timeline.keys.len()), (0, 2));
    assert_eq!((timeline.presented_nanos(7_000), timeline.presented_nanos(10_000)), (0, 80_000_000));
    assert_eq!(
        written(&timeline, &gops(4)),
        [
            // I, P and B, of which B is seen before P and only a tick late; the fourth GOP is where it was.
            (0, 1, 0),
            (1, 999, 1_000),
            (1_000, 1_000, 1),
            (2_000, 1_000, 2_000),
            (3_000, 1_000, 4_000),
            (4_000, 1_000, 3_000),
        ]
    );
}

/// Groups of 48 pictures, I b B b P b B b P …, decoded as I P B b b P B b b …: reordered by two.
fn pyramids(groups: i64, ticks: i64, open: bool) -> Vec<SourceSample> {
    let mut order: Vec<i64> = Vec::new();
    for group in 0..groups {
        let at = group * 48;
        order.push(at);
        // The leading pictures of an open group are decoded after its key frame.
        if open && group > 0 {
            order.extend([at - 2, at - 3, at - 1]);
        }
        order.extend((1..12).flat_map(|number| [4, 2, 1, 3].map(|display| at + (number - 1) * 4 + display)));
        if !open || group + 1 == groups {
            order.extend([at + 47, at + 45, at + 46]);
        }
    }
    order
        .iter()
        .enumerate()
        .map(|(number, display)| {
            let offset = (display + 2 - number as i64) * ticks;
            sample(number as i64 * ticks, ticks as u32, offset as i32, display % 48 == 0)
        })
        .collect()
}

#[test]
fn squeezed_lead_ins_hold_whatever_is_cut() {
    for (scale, ticks) in [(12_800, 512), (25, 1), (600, 24), (90_000, 3_600), (10_000_000, 400_000), (1_000, 1)] {
        let samples = pyramids(4, ticks, false);
        for cut in (0..100).map(|cut| cut * ticks / 2 + 60 * ticks).chain([99 * ticks - 1, 99 * ticks + 1]) {
            let what = format!("{ticks} ticks of 1/{scale} s, cut at {cut}");
            let timeline = survey(&samples, edit(cut, 0, None), scale, true).unwrap();
            let scale = Timescale::new(scale).unwrap();
            let rows = written(&timeline, &samples);
            let factor = i64::from(timeline.timescale.per_second() / scale.per_second());
            assert_eq!(timeline.priming, 0, "{what}");
            assert_eq!(timeline.rate.0 / timeline.rate.1, scale.per_second() / ticks as u32, "{what}");
            // Decode times ascend, and durations say so.
            assert_eq!(rows[0].0, 0, "{what}");
            for pair in rows.windows(2) {
                assert!(pair[0].0 < pair[1].0, "{what}");
                assert_eq!(pair[0].0 + i64::from(pair[0].1), pair[1].0, "{what}");
            }
            let end = rows.last().unwrap();
            assert_eq!(end.0 + i64::from(end.1), timeline.length, "{what}");
            // Nothing is presented before time 0 or before it is decoded, and the order is the source's.
            assert!(rows.iter().all(|row| row.2 >= 0 && row.2 - row.0 + timeline.reorder >= 0), "{what}");
            let source = &samples[timeline.rows.start as usize..timeline.rows.end as usize];
            let mut order: Vec<(i64, i64)> =
                source.iter().map(composition_time).zip(rows.iter().map(|row| row.2)).collect();
            order.sort_unstable();
            assert!(order.windows(2).all(|pair| pair[0].1 < pair[1].1), "{what}: {order:?}");
            // What is hidden is squeezed, and everything behind the first visible picture is exact.
            let limit = i64::from(timeline.timescale.per_second()) * 4 / 1_000;
            let first = order.partition_point(|(time, _)| *time <= cut) - 1;
            for &(time, presented) in &order {
                let exact = (time - cut) * factor;
                let squeezed = exact <= limit;
                assert!(if squeezed { presented <= limit } else { presented == exact }, "{what}: {time}");
            }
            assert!(order[first].1 <= limit, "{what}");
            assert_eq!(timeline.start_nanos, 0, "{what}");
        }
    }
}

#[test]
fn what_cannot_be_squeezed_stays_hidden_by_an_edit_list() {
    // A timescale that leaves no factor.
    let samples = [sample(0, u32::MAX, 0, true), sample(i64::from(u32::MAX), 1, 0, false)];
    let timeline = survey(&samples, edit(i64::from(u32::MAX), 0, None), 1, true).unwrap();
    assert_eq!((timeline.priming, timeline.timescale.per_second()), (i64::from(u32::MAX), 1));
    // The leading pictures of an open start: three before the key frame, which is the fourth; 12 more are hidden.
    let samples = pyramids(4, 512, true);
    let open: &dyn Fn(&SourceSample) -> Option<Start> = &|sample| sample.sync.then_some(Start::Open);
    let source = || samples.iter().map(|sample| Ok::<_, Failure>(*sample));
    let scale = Timescale::new(12_800).unwrap();
    let timeline = Timeline::survey(source, edit(62 * 512, 0, None), scale, Some(open)).unwrap();
    assert_eq!((timeline.priming, timeline.timescale), (15 * 512, scale));
}

#[test]
fn what_is_decoded_before_the_end_and_presented_behind_it_is_squeezed() {
    for (scale, ticks, presented) in
        [(12_800, 512, 100), (25, 1, 99), (600, 24, 98), (90_000, 3_600, 97), (1_000, 40, 60)]
    {
        let what = format!("{presented} pictures of {ticks} ticks of 1/{scale} s");
        let samples = pyramids(4, ticks, false);
        let start = 2 * ticks;
        let timeline = survey(&samples, edit(start, 0, Some(presented * ticks)), scale, true).unwrap();
        let rows = written(&timeline, &samples);
        let factor = i64::from(timeline.timescale.per_second() / scale);
        let end = presented * ticks * factor;
        assert_eq!((timeline.rows.start, timeline.priming), (0, 0), "{what}");
        let hidden: Vec<i64> = rows.iter().map(|row| row.2).filter(|&presented| presented >= end).collect();
        assert_eq!(rows.len() - hidden.len(), presented as usize, "{what}");
        // Less than a millisecond is added, and every visible picture is exact.
        assert!((0..=i64::from(timeline.timescale.per_second()) / 1_000).contains(&(timeline.length - end)), "{what}");
        assert!(hidden.iter().all(|&presented| presented < timeline.length), "{what}");
        for (row, sample) in rows.iter().zip(&samples) {
            let exact = (composition_time(sample) - start) * factor;
            assert!(row.2 == exact || exact >= end, "{what}: {row:?}");
            assert!(row.2 - row.0 + timeline.reorder >= 0, "{what}: {row:?}");
        }
        for pair in rows.windows(2) {
            assert!(pair[0].0 < pair[1].0 && pair[0].0 + i64::from(pair[0].1) == pair[1].0, "{what}: {pair:?}");
        }
        let last = rows.last().unwrap();
        assert_eq!(last.0 + i64::from(last.1), timeline.length, "{what}");
    }
}

#[test]
fn late_starts_are_not_rounded_to_coarse_ticks() {
    // Half a second is twelve and a half pictures.
    let mut timeline = survey(&gops_of(4, 1), edit(1, 500_000_000, None), 25, true).unwrap();
    timeline.place(0);
    assert_eq!((timeline.timescale.per_second(), timeline.delay, timeline.length), (10_000, 5_000, 4_800));
    assert_eq!(
        written(&timeline, &gops_of(4, 1))[..3],
        [(5_000, 400, 5_000), (5_400, 400, 5_800), (5_800, 400, 5_400)]
    );
    assert_eq!((timeline.nanos(timeline.delay), timeline.presented_nanos(4)), (500_000_000, 620_000_000));
    // What is not rounded stays.
    let mut timeline = survey(&gops_of(4, 1), edit(1, 480_000_000, None), 25, true).unwrap();
    timeline.place(0);
    assert_eq!((timeline.timescale.per_second(), timeline.delay), (25, 12));
}

#[test]
fn recordings_count_from_1970_or_1900() {
    for seconds in [1_800_000_000, 4_000_000_000_i64] {
        for scale in [48_000, 10_000_000] {
            let at = seconds * i64::from(scale);
            let frames: Vec<SourceSample> = (0..4).map(|number| sample(at + number * 100, 100, 0, true)).collect();
            let mut timeline = survey(&frames, Edit::default(), scale, true).unwrap();
            assert_eq!(timeline.start_nanos, seconds * 1_000_000_000);
            timeline.place(timeline.start_nanos - 1_000_000_000);
            assert_eq!(timeline.delay, i64::from(scale));
        }
    }
}

#[test]
fn audio_keeps_its_priming_and_loses_its_padding() {
    let frames: Vec<SourceSample> = (0..10).map(|number| sample(number * 1_024, 1_024, 0, true)).collect();
    let timeline = survey(&frames, edit(1_024, 0, Some(8_700)), 48_000, false).unwrap();
    assert_eq!((timeline.priming, timeline.rows.clone(), timeline.length), (1_024, 0..10, 9_724));
    assert_eq!(timeline.last_duration, 1_024 - 516);
    // A late start moves it on the clock; frames after the end go.
    let mut timeline = survey(&frames, edit(0, 10_000_000, Some(2_048)), 48_000, false).unwrap();
    assert_eq!((timeline.rows.clone(), timeline.start_nanos), (0..2, 10_000_000));
    timeline.place(4_000_000);
    assert_eq!((timeline.delay, timeline.times(1, &frames[1]).decode_time), (288, 1_312));
    // Far into the track, the decoder gets a quarter of a second to settle.
    let long: Vec<SourceSample> = (0..1_000).map(|number| sample(number * 1_024, 1_024, 0, true)).collect();
    let timeline = survey(&long, edit(500_000, 0, None), 48_000, false).unwrap();
    assert_eq!(timeline.rows, 476..1_000);
    assert_eq!(timeline.priming, 500_000 - 476 * 1_024);
}

#[test]
fn gaps_are_filled_and_the_last_duration_is_found() {
    let samples = [sample(900, 500, 0, true), sample(2_900, 1_000, 0, false), sample(3_900, 0, 0, false)];
    let timeline = survey(&samples, Edit::default(), 1_000, true).unwrap();
    assert_eq!((timeline.length, timeline.last_duration), (4_000, 1_000));
}

#[test]
fn samples_without_bytes_lengthen_the_one_before() {
    let mut samples: Vec<SourceSample> = (0..8).map(|number| sample(number * 40, 40, 0, number == 1)).collect();
    for empty in [0, 3, 4, 7] {
        samples[empty].size = 0;
    }
    let timeline = survey(&samples, Edit::default(), 1_000, true).unwrap();
    assert_eq!((timeline.rows.clone(), timeline.length, timeline.start_nanos), (0..4, 280, 40_000_000));
    assert_eq!(written(&timeline, &samples), [(0, 40, 0), (40, 120, 40), (160, 40, 160), (200, 80, 200)]);
    let error = survey(&samples[3..5], Edit::default(), 1_000, true).unwrap_err();
    assert_eq!(error.to_string(), "no samples");
}

#[test]
fn frame_rates() {
    for (scale, durations, want) in [
        (30_000, vec![1_001; 50], (30_000, 1_001)),
        (90_000, [3_003, 3_004].repeat(40), (29_965, 1_000)),
        (90_000, [3_754, 3_754, 3_753, 3_754].repeat(200), (23_976, 1_000)),
        (1_000, [33, 33, 34].repeat(100), (30, 1)),
        (1_000, [40, 80].repeat(50), (16_723, 1_000)),
        (12_800, vec![512], (25, 1)),
    ] {
        let mut at = 0;
        let samples: Vec<SourceSample> = durations
            .iter()
            .map(|&duration| {
                at += i64::from(duration);
                sample(at - i64::from(duration), duration, 0, true)
            })
            .collect();
        let rate = survey(&samples, Edit::default(), scale, true).unwrap().rate;
        let close = (f64::from(rate.0) / f64::from(rate.1) - f64::from(want.0) / f64::from(want.1)).abs() < 0.01;
        assert!(close, "{scale}: {rate:?}, expected {want:?}");
        if want.1 != 1_000 {
            assert_eq!(rate, want);
        }
    }
}

#[test]
fn tracks_that_cannot_be_timed() {
    let cases: [(&[SourceSample], Edit, &str); 5] = [
        (&[], Edit::default(), "no samples"),
        (&[sample(0, 1, 0, false)], Edit::default(), "1 samples, none of which is a key frame"),
        (&[sample(5, 1, 0, true), sample(4, 1, 0, true)], Edit::default(), "sample 1 (from 0): decode time 4"),
        (&[sample(i64::MAX, 1, 0, true)], Edit::default(), "out of range"),
        (&[sample(0, 10, 0, true)], edit(0, 0, Some(-5)), "presents nothing"),
    ];
    for (samples, edit, want) in cases {
        let error = survey(samples, edit, 1_000, true).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
}
