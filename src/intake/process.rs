//! What the kernel says of this process, from /proc: the usual `process_…` metrics and the memory that counts here.

use std::fs;

use super::exposition::Exposition;

pub fn write(out: &mut Exposition) {
    if let Some(memory) = fs::read_to_string("/proc/self/status").ok().as_deref().map(memory) {
        let gauges = [
            ("process_resident_memory_bytes", "Resident memory, mapped files included.", memory.resident),
            ("headwater_anonymous_memory_bytes", "Resident memory without mapped files.", memory.anonymous),
        ];
        for (name, help, value) in gauges {
            out.gauge(name, help, [(&[][..], value as f64)]);
        }
    }
    if let Some(usage) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_ticks) {
        // USER_HZ, the unit of these figures, is 100 on every architecture Linux has left.
        out.seconds("process_cpu_seconds_total", "User and system time.", usage as f64 / 100.0);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        out.gauge("process_open_fds", "Open file descriptors.", [(&[][..], open.count() as f64)]);
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Memory {
    resident: u64,
    anonymous: u64,
}

/// proc_pid_status(5); the figures are in units of 1024 bytes.
fn memory(status: &str) -> Memory {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    Memory { resident: field("VmRSS").unwrap_or(0), anonymous: field("RssAnon").unwrap_or(0) }
}

/// proc_pid_stat(5): fields 14 and 15, counted behind the name, which may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    number(11)?.checked_add(number(12)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found() {
        let status = "Name:\tx\nVmRSS:\t    5000 kB\nRssAnon:\t     120 kB\nRssFile:\t 1 kB\n";
        assert_eq!(memory(status), Memory { resident: 5_120_000, anonymous: 122_880 });
        assert_eq!(memory("nonsense"), Memory { resident: 0, anonymous: 0 });
        assert_eq!(cpu_ticks("7 (a) b (c) S 1 7 7 0 -1 0 0 0 0 0 17 5 0 0 20"), Some(22));
        assert_eq!(cpu_ticks("7 (a"), None);
        assert_eq!(cpu_ticks("7 (a) S"), None);
    }

    #[test]
    fn this_process_has_them() {
        let mut out = Exposition::default();
        write(&mut out);
        let text = out.into_text();
        for name in [
            "\nprocess_resident_memory_bytes ",
            "\nheadwater_anonymous_memory_bytes ",
            "\nprocess_cpu_seconds_total ",
            "\nprocess_open_fds ",
        ] {
            assert!(text.contains(name), "{name} in {text}");
        }
    }
}
