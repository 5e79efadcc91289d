//! How often an address may present a wrong key.
//!
//! A bucket of tokens for each address: a wrong key takes one, time gives them back. Without one, no key is looked at, so
//! that guessing gains nothing from guessing faster. The table is bounded: the address that was heard of longest ago is
//! forgotten first, and it takes a network of thousands of addresses to make use of that.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::base::limits::{INTAKE_ADDRESSES_MAX, INTAKE_WRONG_KEY_PERIOD, INTAKE_WRONG_KEYS_MAX};

#[derive(Default)]
pub struct Gate {
    buckets: HashMap<IpAddr, Bucket>,
}

struct Bucket {
    tokens: u32,
    /// When the last token was given or, of a full bucket, taken.
    since: Instant,
}

/// What follows from a wrong key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    Counted,
    /// It was the last one for now: nothing more is heard of this address for a while.
    Last,
}

impl Gate {
    /// How long this address has to wait before a key of its is looked at. `None`: not at all.
    pub fn wait(&mut self, address: IpAddr, now: Instant) -> Option<Duration> {
        let bucket = self.buckets.get_mut(&network(address))?;
        bucket.refill(now);
        (bucket.tokens == 0).then(|| INTAKE_WRONG_KEY_PERIOD.saturating_sub(now.duration_since(bucket.since)))
    }

    pub fn wrong(&mut self, address: IpAddr, now: Instant) -> Wrong {
        let address = network(address);
        if self.buckets.len() >= INTAKE_ADDRESSES_MAX && !self.buckets.contains_key(&address) {
            self.make_room(now);
        }
        let bucket = self.buckets.entry(address).or_insert(Bucket { tokens: INTAKE_WRONG_KEYS_MAX, since: now });
        bucket.refill(now);
        if bucket.tokens == INTAKE_WRONG_KEYS_MAX {
            bucket.since = now;
        }
        bucket.tokens = bucket.tokens.saturating_sub(1);
        if bucket.tokens == 0 { Wrong::Last } else { Wrong::Counted }
    }

    /// Forgets those that have nothing left to pay; if there are none, the one heard of longest ago.
    fn make_room(&mut self, now: Instant) {
        self.buckets.retain(|_, bucket| {
            bucket.refill(now);
            bucket.tokens < INTAKE_WRONG_KEYS_MAX
        });
        if self.buckets.len() >= INTAKE_ADDRESSES_MAX {
            let oldest = self.buckets.iter().min_by_key(|(_, bucket)| bucket.since).map(|(address, _)| *address);
            self.buckets.remove(&oldest.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)));
        }
    }
}

impl Bucket {
    fn refill(&mut self, now: Instant) {
        let periods = now.duration_since(self.since).as_nanos() / INTAKE_WRONG_KEY_PERIOD.as_nanos();
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        self.tokens = self.tokens.saturating_add(periods).min(INTAKE_WRONG_KEYS_MAX);
        self.since =
            if self.tokens == INTAKE_WRONG_KEYS_MAX { now } else { self.since + INTAKE_WRONG_KEY_PERIOD * periods };
    }
}

/// A host has all addresses of an IPv6 /64 to choose from; an IPv4 address may come mapped.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn guessing_takes_time() {
        let (mut gate, start) = (Gate::default(), Instant::now());
        for number in 1..INTAKE_WRONG_KEYS_MAX {
            assert_eq!(gate.wrong(host(1), start), Wrong::Counted, "{number}");
            assert_eq!(gate.wait(host(1), start), None);
        }
        assert_eq!(gate.wrong(host(1), start), Wrong::Last);
        assert_eq!(gate.wait(host(1), start), Some(INTAKE_WRONG_KEY_PERIOD));
        assert_eq!(gate.wait(host(2), start), None);
        assert_eq!(gate.wait(host(1), start + INTAKE_WRONG_KEY_PERIOD / 2), Some(INTAKE_WRONG_KEY_PERIOD / 2));
        let later = start + INTAKE_WRONG_KEY_PERIOD;
        assert_eq!(gate.wait(host(1), later), None);
        assert_eq!(gate.wrong(host(1), later), Wrong::Last);
        let much_later = later + INTAKE_WRONG_KEY_PERIOD * 1_000;
        assert_eq!(gate.wrong(host(1), much_later), Wrong::Counted);
    }

    #[test]
    fn a_network_of_one_host_counts_as_one() {
        for (a, b, want) in [
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8:0:1::1", "2001:db8::1", false),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
        ] {
            assert_eq!(network(a.parse().unwrap()) == network(b.parse().unwrap()), want, "{a} {b}");
        }
    }

    #[test]
    fn the_table_is_bounded() {
        let (mut gate, start) = (Gate::default(), Instant::now());
        for number in 0..2 * INTAKE_ADDRESSES_MAX as u32 {
            let now = start + Duration::from_millis(u64::from(number) / 10);
            gate.wrong(host(number), now);
            assert!(gate.buckets.len() <= INTAKE_ADDRESSES_MAX);
        }
        assert!(gate.buckets.contains_key(&host(2 * INTAKE_ADDRESSES_MAX as u32 - 1)));
        gate.wrong(host(1), start + INTAKE_WRONG_KEY_PERIOD * 1_000);
        assert_eq!(gate.buckets.len(), 1);
    }
}
