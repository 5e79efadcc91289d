//! Which CPUs threads run on, and who goes first there.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::str::FromStr;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use thiserror::Error;

/// CPUs as operators write them, "2-7,10": in order, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList(Vec<usize>);

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("CPU list \"{list}\": \"{part}\" is not a CPU number or a range of them below {max}", max = CpuSet::count())]
pub struct CpuListError {
    pub list: String,
    pub part: String,
}

impl CpuList {
    pub fn cpus(&self) -> &[usize] {
        &self.0
    }
}

impl FromStr for CpuList {
    type Err = CpuListError;

    fn from_str(list: &str) -> Result<CpuList, CpuListError> {
        let mut cpus = Vec::new();
        for part in list.split(',') {
            let part = part.trim();
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last => cpus.extend(first..=last),
                _ => return Err(CpuListError { list: list.to_owned(), part: part.to_owned() }),
            }
        }
        cpus.sort_unstable();
        cpus.dedup();
        Ok(CpuList(cpus))
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_slice();
        while let Some(&first) = rest.first() {
            let run = rest.iter().zip(first..).take_while(|&(&cpu, next)| cpu == next).count();
            let comma = if rest.len() == self.0.len() { "" } else { "," };
            match run {
                1 => write!(f, "{comma}{first}")?,
                _ => write!(f, "{comma}{first}-{}", first + run - 1)?,
            }
            rest = &rest[run..];
        }
        Ok(())
    }
}

fn number(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&cpu| digits && cpu < CpuSet::count())
}

/// The CPUs this process may run on (its cgroup, `taskset`), in order.
pub fn allowed() -> io::Result<CpuList> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok(CpuList((0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).collect()))
}

/// Keeps the calling thread, and threads it starts, on these CPUs.
pub fn pin(cpus: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Lets threads at the usual priority go before the calling one: raises its nice value by `steps`.
pub fn yield_priority(steps: i32) {
    // SAFETY: nice has no preconditions. On Linux it concerns the calling thread alone. It cannot fail upwards, and -1 may be
    // the new value, so there is nothing to check.
    let _ = unsafe { libc::nice(steps) };
}

/// Lets the calling thread run soon after it is woken, where another one is busy on its CPU: asks the scheduler for short turns
/// (`sched_attr.sched_runtime`, Linux 6.12; earlier kernels ignore it). Its share of the CPU and its nice value stay.
pub fn take_short_turns() {
    const TURN_NANOS: u64 = 100_000;
    const SIZE: u32 = size_of::<libc::sched_attr>() as u32;
    let mut attributes = MaybeUninit::<libc::sched_attr>::zeroed();
    // SAFETY: the kernel writes at most `SIZE` bytes to `attributes`, which has them. 0 is the calling thread.
    let read = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, attributes.as_mut_ptr(), SIZE, 0) };
    // SAFETY: all bytes were zero before the kernel wrote to them, and zeros are a value of every field.
    let mut attributes = unsafe { attributes.assume_init() };
    if read != 0 || attributes.sched_policy != libc::SCHED_OTHER as u32 {
        return;
    }
    attributes.sched_runtime = TURN_NANOS;
    // SAFETY: the kernel reads `size` bytes of `attributes`, as many as it wrote. Without success everything stays as it was.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        for (text, want) in [
            ("0", Some((vec![0], "0"))),
            ("2-4,10", Some((vec![2, 3, 4, 10], "2-4,10"))),
            (" 7 , 6, 6-7 ", Some((vec![6, 7], "6-7"))),
            ("", None),
            ("1-", None),
            ("3-2", None),
            ("+1", None),
            ("1,,2", None),
            ("0-99999999999", None),
            ("1024", None),
        ] {
            let list = text.parse::<CpuList>().ok();
            assert_eq!(
                list.as_ref().map(|list| (list.cpus().to_vec(), list.to_string())),
                want.map(|(cpus, text)| (cpus, text.to_owned())),
                "{text:?}"
            );
        }
        assert!("1,x".parse::<CpuList>().unwrap_err().to_string().starts_with("CPU list \"1,x\": \"x\" is not"));
    }

    #[test]
    fn short_turns_change_nothing_else() {
        std::thread::spawn(|| {
            // SAFETY: getpriority has no preconditions. 0 is the calling thread.
            let nice = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
            yield_priority(3);
            let before = nice();
            take_short_turns();
            assert!(before >= 3 && nice() == before, "{before} {}", nice());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_thread_can_be_pinned_to_what_is_allowed() {
        std::thread::spawn(|| {
            let cpus = allowed().unwrap();
            let first = cpus.cpus()[0];
            pin(&[first]).unwrap();
            assert_eq!(allowed().unwrap().cpus(), [first]);
            assert!(pin(&[]).is_err());
        })
        .join()
        .unwrap();
    }
}
