//! What this process has used so far.

use std::time::Duration;

use crate::Failure;

/// Ticks in a second of `/proc/self/stat`: fixed for programs (`USER_HZ`).
const TICKS: u64 = 100;

/// The most memory that was resident at once so far, in mebibytes (`VmHWM` of proc_pid_status(5)).
pub(crate) fn peak_mebibytes() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .ok_or("/proc/self/status has no VmHWM")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kibibytes / 1024)
}

/// The processor time of all threads so far (`utime` and `stime` of proc_pid_stat(5)): what counts
/// where other programs run as well.
pub(crate) fn processor_time() -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name before may hold spaces; `utime` and `stime` are the 12th and 13th after it.
    let (_, rest) = stat
        .rsplit_once(')')
        .ok_or("/proc/self/stat is malformed")?;
    let ticks = rest.split_whitespace().skip(11).take(2);
    let mut sum = 0;
    for count in ticks {
        sum += count.parse::<u64>()?;
    }
    Ok(Duration::from_millis(sum * 1000 / TICKS))
}
