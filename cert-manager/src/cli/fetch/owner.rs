//! Users and groups by name or number. A statically linked program has no system library to ask, so
//! the files are read.

use std::fs;

/// Whose files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) user: u32,
    /// `None` leaves the group of this program.
    pub(super) group: Option<u32>,
}

impl Owner {
    /// `USER` or `USER:GROUP`. A user by name without a group brings its own.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self::parse_by(text, &read("/etc/passwd"), &read("/etc/group"))
    }

    fn parse_by(text: &str, users: &str, groups: &str) -> Result<Self, String> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let unknown = |what: &str, name: &str, file: &str| {
            format!("there is no {what} `{name}` (--owner) in {file}; a number does without")
        };
        let entry = find(users, user);
        let user = match (user.parse(), entry) {
            (Ok(number), _) => number,
            (Err(_), Some(entry)) => number(entry, 2)?,
            (Err(_), None) => return Err(unknown("user", user, "/etc/passwd")),
        };
        let group = match (group, entry) {
            (None, None) => None,
            (None, Some(entry)) => Some(number(entry, 3)?),
            (Some(name), _) => Some(match (name.parse(), find(groups, name)) {
                (Ok(number), _) => number,
                (Err(_), Some(entry)) => number(entry, 2)?,
                (Err(_), None) => return Err(unknown("group", name, "/etc/group")),
            }),
        };
        Ok(Self { user, group })
    }
}

/// The line of `name` in a file such as `/etc/passwd`.
fn find<'a>(file: &'a str, name: &str) -> Option<&'a str> {
    file.lines()
        .find(|line| line.split(':').next() == Some(name))
}

fn number(entry: &str, field: usize) -> Result<u32, String> {
    let number = entry.split(':').nth(field);
    number
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| format!("`{entry}` (--owner) is no line of a user or group"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_found_by_name_and_number() {
        let users = "root:x:0:0::/root:/bin/sh\npostgres:x:70:71::/:/bin/sh\n";
        let groups = "root:x:0:\nssl-cert:x:110:postgres\n";
        let parse = |text: &str| Owner::parse_by(text, users, groups);
        let owner = |user, group| Ok(Owner { user, group });
        assert_eq!(parse("postgres"), owner(70, Some(71)));
        assert_eq!(parse("postgres:ssl-cert"), owner(70, Some(110)));
        assert_eq!(parse("999"), owner(999, None));
        assert_eq!(parse("999:998"), owner(999, Some(998)));
        assert!(parse("nobody").unwrap_err().contains("/etc/passwd"));
        assert!(parse("999:nobody").unwrap_err().contains("/etc/group"));
    }
}
