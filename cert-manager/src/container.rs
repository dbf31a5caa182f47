//! Notices a data folder that goes away with its container.

use std::fs;
use std::path::{Path, PathBuf};

/// Says loudly when this is a container and `data` is not on a volume.
pub(crate) fn warn_about_lost_data(data: &Path) {
    if !is_container() {
        return;
    }
    let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo") else {
        return;
    };
    let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    let reason = match mount_of(&data, &mounts) {
        None => "is not on a volume",
        Some(mount) if mount.file_system == "tmpfs" => "is in memory only (tmpfs)",
        Some(_) => return,
    };
    tracing::warn!(
        data = %data.display(),
        "THE DATA FOLDER {reason}: certificates and accounts are lost with this container, and \
         asking for them again and again runs into the authority's rate limits. Mount a volume \
         there, such as `cert_data:/data`"
    );
}

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    file_system: String,
}

/// The innermost mount at or above `path` other than the root file system.
fn mount_of(path: &Path, mountinfo: &str) -> Option<Mount> {
    let mounts = mountinfo.lines().filter_map(parse_mount);
    mounts
        .filter(|mount| mount.point != Path::new("/") && path.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.components().count())
}

/// Reads a line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
fn parse_mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let point = before.split(' ').nth(4)?;
    let point = point.replace("\\040", " ").replace("\\134", "\\");
    Some(Mount {
        point: PathBuf::from(point),
        file_system: after.split(' ').next()?.to_owned(),
    })
}

fn is_container() -> bool {
    let marks = ["/.dockerenv", "/run/.containerenv"];
    let groups = ["docker", "kubepods", "containerd", "libpod", "lxc"];
    marks.into_iter().any(|mark| Path::new(mark).exists())
        || fs::read_to_string("/proc/1/cgroup")
            .is_ok_and(|text| groups.into_iter().any(|group| text.contains(group)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
700 600 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/a
701 700 0:53 / /proc rw,nosuid - proc proc rw
702 700 8:1 /volumes/cert_data/_data /data rw,relatime master:1 - ext4 /dev/sda1 rw
703 700 0:60 / /run/with\\040space rw - tmpfs tmpfs rw
";

    #[test]
    fn a_volume_is_told_from_the_container_itself() {
        let found = |path: &str| mount_of(Path::new(path), MOUNTS);
        assert_eq!(found("/data").unwrap().file_system, "ext4");
        assert_eq!(found("/data/caddy").unwrap().point, Path::new("/data"));
        assert_eq!(found("/database"), None);
        assert_eq!(found("/var/lib/portico"), None);
        assert_eq!(found("/run/with space/x").unwrap().file_system, "tmpfs");
    }
}
