//! What a worker knows of files that were looked for, while nothing in the volumes changes.

use std::collections::HashMap;

use proto::file_request::FileMatch;

use crate::file_cache::changes::VolumeChanges;

/// Answers to probes. Also that a file is not there is worth knowing: that is what `try_files`
/// finds for most paths of a single-page app. Any change anywhere drops all, since a file that
/// appears may have been looked for under any name.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    answers: HashMap<String, Option<FileMatch>>,
    position: u64,
}

/// Answers that are kept at most; clients choose what is looked for.
const CAPACITY: usize = 4096;

impl Probes {
    /// The answer to a question, if it is known and known to be current.
    pub(super) fn get(
        &mut self,
        question: &str,
        changes: &VolumeChanges,
    ) -> Option<Option<FileMatch>> {
        self.catch_up(changes);
        if changes.is_live() {
            self.answers.get(question).cloned()
        } else {
            None
        }
    }

    /// Keeps the answer to what was asked when the position of the changes was `asked_at`, unless
    /// something changed since.
    pub(super) fn insert(
        &mut self,
        question: String,
        answer: Option<FileMatch>,
        asked_at: u64,
        changes: &VolumeChanges,
    ) {
        self.catch_up(changes);
        if asked_at != self.position || !changes.is_live() {
            return;
        }
        if self.answers.len() >= CAPACITY {
            self.answers.clear();
        }
        self.answers.insert(question, answer);
    }

    fn catch_up(&mut self, changes: &VolumeChanges) {
        let position = changes.position();
        if position != self.position {
            self.answers.clear();
            self.position = position;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Probes;
    use crate::file_cache::changes::VolumeChanges;

    #[test]
    fn answers_hold_until_something_changes() {
        let changes = VolumeChanges::default();
        let mut probes = Probes::default();
        probes.insert("a".to_owned(), None, changes.position(), &changes);
        assert_eq!(probes.get("a", &changes), None, "changes are not announced");
        changes.set_live(true);
        let asked_at = changes.position();
        probes.insert("a".to_owned(), None, asked_at, &changes);
        assert_eq!(probes.get("a", &changes), Some(None));
        assert_eq!(probes.get("b", &changes), None);
        changes.add("/srv", "new.html");
        assert_eq!(probes.get("a", &changes), None);
        probes.insert("a".to_owned(), None, asked_at, &changes);
        assert_eq!(
            probes.get("a", &changes),
            None,
            "the answer is older than the change"
        );
    }
}
