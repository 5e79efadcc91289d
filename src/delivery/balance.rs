//! The kernel spreads connections over workers by a hash of their addresses. That is even for many clients, not for a few
//! CDN nodes with long-lived connections: a worker with far more connections than a sibling hands accepted ones over.

/// The worker that should take a connection which worker `own` accepted, if another should. `open` counts connections per
/// worker.
///
/// Far more means twice as many and [`SLACK`] on top: below that the hand-over costs more than it evens out.
pub(super) fn lighter(own: usize, open: impl Iterator<Item = u64>) -> Option<usize> {
    let mut mine = 0;
    let mut least: Option<(u64, usize)> = None;
    for (worker, open) in open.enumerate() {
        if worker == own {
            mine = open;
        } else if least.is_none_or(|(fewest, _)| open < fewest) {
            least = Some((open, worker));
        }
    }
    least.filter(|&(fewest, _)| mine > fewest * 2 + SLACK).map(|(_, worker)| worker)
}

const SLACK: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_far_more_is_handed_over() {
        for (own, open, want) in [
            (0, vec![10_000], None),
            (0, vec![64, 0], None),
            (0, vec![65, 0], Some(1)),
            (1, vec![65, 0], None),
            (0, vec![264, 100, 300], None),
            (0, vec![265, 100, 300], Some(1)),
            (2, vec![120, 110, 1_000], Some(1)),
        ] {
            assert_eq!(lighter(own, open.iter().copied()), want, "{own} {open:?}");
        }
    }
}
