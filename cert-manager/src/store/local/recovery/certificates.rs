//! Brings the certificates in the database and those in the files up to one another.
//!
//! The database notes of each folder of files what is in it, and from what to tell that it still
//! is. As long as that holds, no file is opened, so a start costs one look at each folder.

use std::collections::HashMap;

use jiff::Timestamp;

use super::Repair;
use crate::certificate::Facts;
use crate::name::Name;
use crate::record::Record;
use crate::store::StoreError;
use crate::store::database::{Contents, Database, Table};
use crate::store::files::{Flaw, Listed, Stored, passed_over};
use crate::store::local::certificates::{self, FilesRow};
use crate::store::parallel::in_parallel;

/// A certificate in the files.
struct Found {
    listed: Listed,
    stored: Stored,
    /// The database notes its files as they are.
    is_noted: bool,
}

/// What [`complete`] did.
pub(super) struct Completed {
    /// How many certificates the database was lacking.
    pub(super) taken: usize,
    /// Every record, where none had to be changed.
    pub(super) records: Option<Vec<Record>>,
}

/// Brings both up to one another. `contents` is what the database was read to hold.
pub(super) fn complete(repair: &Repair<'_>, contents: Contents) -> Result<Completed, StoreError> {
    let records: Vec<(String, Record)> = contents.decode(repair.database, Table::Records)?;
    let notes: Vec<(String, FilesRow)> = contents.decode(repair.database, Table::Files)?;
    drop(contents);
    let records: Vec<Record> = records.into_iter().map(|(_, record)| record).collect();
    let mut known: HashMap<&Name, &Facts> = records
        .iter()
        .filter_map(|record| Some((&record.name, record.certificate.as_ref()?)))
        .collect();
    let mut lacking = Vec::new();
    for (name, found) in newest(find(repair, notes)?) {
        let facts = known.get(&name).copied();
        let is_held = facts.is_some_and(|facts| holds(facts, &found.stored));
        let is_held = is_held
            && (found.is_noted
                || repair
                    .database
                    .contains(Table::Certificates, name.as_str())?);
        if !is_held {
            known.remove(&name);
            lacking.push(found);
        } else if facts.is_some_and(|facts| is_in(facts, &found.stored)) {
            known.remove(&name);
            if !found.is_noted {
                certificates::note(repair.database, &found.listed, found.stored)?;
            }
        }
    }
    let (taken, damaged) = take(repair, lacking)?;
    let mut forgotten = 0;
    for name in known.into_keys().chain(&damaged) {
        forgotten += usize::from(restore_files(repair, name)? == Restored::Nothing);
    }
    Ok(Completed {
        taken,
        records: (taken + forgotten == 0).then_some(records),
    })
}

/// Every certificate in the files, of which the database has `notes`.
fn find(repair: &Repair<'_>, notes: Vec<(String, FilesRow)>) -> Result<Vec<Found>, StoreError> {
    let mut notes: HashMap<String, FilesRow> = notes.into_iter().collect();
    let mut found = Vec::new();
    let mut unknown = Vec::new();
    for listed in repair.files.list()? {
        match notes.remove(&listed.key) {
            Some(note) if note.stamp == listed.stamp => found.push(Found {
                listed,
                stored: note.stored,
                is_noted: true,
            }),
            _ => unknown.push(listed),
        }
    }
    let gone: Vec<String> = notes.into_keys().collect();
    repair.database.remove(Table::Files, &gone)?;
    let read = in_parallel(&unknown, |listed| repair.files.read_metadata(listed));
    for (listed, read) in unknown.into_iter().zip(read) {
        match read {
            Ok(stored) => found.push(Found {
                listed,
                stored,
                is_noted: false,
            }),
            Err(flaw) => put_aside(repair, &listed, flaw)?,
        }
    }
    Ok(found)
}

/// The newest certificate of each name.
fn newest(found: Vec<Found>) -> HashMap<Name, Found> {
    let mut newest: HashMap<Name, Found> = HashMap::with_capacity(found.len());
    for found in found {
        let known = newest.get(&found.stored.name);
        if known.is_none_or(|known| known.stored.not_before < found.stored.not_before) {
            newest.insert(found.stored.name.clone(), found);
        }
    }
    newest
}

/// Puts certificates into the database that it lacks. Returns how many there were, and the names
/// of those whose files are damaged.
fn take(repair: &Repair<'_>, lacking: Vec<Found>) -> Result<(usize, Vec<Name>), StoreError> {
    /// So many at once are in memory.
    const SHARE: usize = 1024;
    let mut taken = 0;
    let mut damaged = Vec::new();
    for share in lacking.chunks(SHARE) {
        let read = in_parallel(share, |found| {
            repair.files.read_certificate(&found.listed, &found.stored)
        });
        for (found, read) in share.iter().zip(read) {
            let certificate = match read {
                Ok(certificate) => certificate,
                Err(flaw) => {
                    put_aside(repair, &found.listed, flaw)?;
                    damaged.push(found.stored.name.clone());
                    continue;
                }
            };
            certificates::put(repair.database, &certificate, &found.listed)?;
            let record = known_record(repair.database, &certificate.name)?;
            let mut record =
                record.unwrap_or_else(|| Record::new(certificate.name.clone(), Timestamp::now()));
            record.succeed(certificate.facts);
            let key = record.name.to_string();
            repair.database.put(Table::Records, &[(key, &record)])?;
            taken += 1;
        }
    }
    Ok((taken, damaged))
}

fn known_record(database: &Database, name: &Name) -> Result<Option<Record>, StoreError> {
    database.get(Table::Records, name.as_str())
}

/// Keeps a damaged certificate for somebody to look at, and writes its files again where the
/// database has it.
fn put_aside(repair: &Repair<'_>, listed: &Listed, flaw: Flaw) -> Result<(), StoreError> {
    let reason = match flaw {
        Flaw::Store(error) => return Err(error),
        Flaw::Useless(reason) => {
            passed_over(&listed.folder, &reason);
            return Ok(());
        }
        Flaw::Damaged(reason) => reason,
    };
    repair.files.set_aside(&listed.folder, &reason)?;
    repair.rebuilds.note_damaged_file();
    Ok(())
}

/// What became of a certificate whose files are gone.
#[derive(PartialEq, Eq)]
enum Restored {
    /// Its files are there again.
    Files,
    /// It is nowhere, and its record says so.
    Nothing,
}

/// Writes the files of a certificate that is in the database alone.
fn restore_files(repair: &Repair<'_>, name: &Name) -> Result<Restored, StoreError> {
    match certificates::in_database(repair.database, name) {
        Ok(Some(certificate)) => {
            repair.rewritten(&format!("the certificate of {name}"));
            let listed = repair.files.write_certificate(&certificate)?;
            certificates::put(repair.database, &certificate, &listed)?;
            return Ok(Restored::Files);
        }
        Ok(None) => {}
        Err(error @ StoreError::Sealed(_)) => return Err(error),
        Err(error) => {
            tracing::error!(
                %name,
                %error,
                "neither the files nor the database can give the certificate; it will be obtained \
                 anew"
            );
            certificates::remove(repair.database, name)?;
        }
    }
    forget_certificate(repair.database, name)?;
    Ok(Restored::Nothing)
}

/// A record must not speak of a certificate that is nowhere: nothing would obtain a new one.
fn forget_certificate(database: &Database, name: &Name) -> Result<(), StoreError> {
    let Some(mut record) = known_record(database, name)? else {
        return Ok(());
    };
    record.certificate = None;
    database.put(Table::Records, &[(name.to_string(), &record)])
}

/// Whether what the database says of a certificate is at least as new as `stored`.
fn holds(known: &Facts, stored: &Stored) -> bool {
    is_in(known, stored) || known.not_before >= stored.not_before
}

/// Whether what the database says is of the very certificate that is stored.
fn is_in(known: &Facts, stored: &Stored) -> bool {
    match &stored.serial {
        Some(serial) => *serial == known.serial,
        None => stored.not_before == known.not_before,
    }
}
