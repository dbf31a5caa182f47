//! Waits until a record is seen, for an authority that looks too early remembers that there was
//! none.

use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::time::Instant;

use super::lookup::{Lookup, NameServer};
use super::{DnsError, TxtRecord, parse_name, wire};

/// How long to wait before the second look; each wait is longer by half.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait between looks.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What a name server says of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// It has it.
    Seen,
    /// It has something else, in words.
    Other(String),
    /// It says nothing, in words.
    Silent(String),
}

/// Waits until every name server that answers has `record`, and one at least.
///
/// # Errors
/// When that takes longer than `timeout`: which name server answers what.
pub(super) async fn wait(
    lookup: &Lookup,
    record: &TxtRecord,
    timeout: Duration,
) -> Result<(), DnsError> {
    let deadline = Instant::now() + timeout;
    let name = parse_name(&record.name)?;
    let servers = lookup.must_know(&name).await?;
    let mut pause = FIRST_WAIT;
    loop {
        let mut answers = Vec::new();
        for server in &servers {
            answers.push((server, look(server, &name, &record.value).await));
        }
        if is_seen(answers.iter().map(|(_, answer)| answer)) {
            return Ok(());
        }
        if Instant::now() + pause >= deadline {
            return Err(not_seen(record, timeout, &answers));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(LONGEST_WAIT);
    }
}

/// A server that cannot be reached from here may be reached by the authority, so it alone does not
/// hold up an order.
fn is_seen<'a>(answers: impl Iterator<Item = &'a Answer>) -> bool {
    let mut seen = false;
    for answer in answers {
        match answer {
            Answer::Seen => seen = true,
            Answer::Other(_) => return false,
            Answer::Silent(_) => {}
        }
    }
    seen
}

async fn look(server: &NameServer, name: &Name, value: &str) -> Answer {
    let mut silent = "it has no address".to_owned();
    for address in &server.addresses {
        match wire::ask(*address, name, RecordType::TXT, server.is_recursive).await {
            Ok(answer) => {
                let values = answer
                    .answers
                    .iter()
                    .filter_map(|record| match &record.data {
                        RData::TXT(txt) => {
                            Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned())
                        }
                        _ => None,
                    });
                return judge(answer.response_code, values.collect(), value);
            }
            Err(error) => silent = error,
        }
    }
    Answer::Silent(silent)
}

fn judge(code: ResponseCode, values: Vec<String>, wanted: &str) -> Answer {
    if values.iter().any(|value| value == wanted) {
        return Answer::Seen;
    }
    Answer::Other(match code {
        ResponseCode::NoError if values.is_empty() => "there is no TXT record".to_owned(),
        ResponseCode::NoError => format!("another value, `{}`", values.join("`, `")),
        ResponseCode::NXDomain => "there is no such name".to_owned(),
        other => other.to_string(),
    })
}

fn not_seen(record: &TxtRecord, timeout: Duration, answers: &[(&NameServer, Answer)]) -> DnsError {
    let answers: Vec<String> = answers
        .iter()
        .map(|(server, answer)| {
            let said = match answer {
                Answer::Seen => "has it",
                Answer::Other(said) | Answer::Silent(said) => said,
            };
            format!("{}: {said}", server.name)
        })
        .collect();
    DnsError::new(format!(
        "the TXT record {} was written, but not every name server has it after {} s ({})",
        record.name,
        timeout.as_secs(),
        answers.join("; ")
    ))
    .with_hint(
        "if the provider is slow, give it more time with `propagation_timeout`; if these name \
         servers are not the ones that the world asks, name others with `resolvers`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_that_answers_must_have_the_record() {
        let other = || Answer::Other("there is no such name".to_owned());
        let silent = || Answer::Silent("it does not answer".to_owned());
        assert!(is_seen([Answer::Seen, Answer::Seen].iter()));
        assert!(is_seen([Answer::Seen, silent()].iter()));
        assert!(!is_seen([Answer::Seen, other()].iter()));
        assert!(!is_seen([silent()].iter()));
        assert!(!is_seen([].iter()));
    }

    #[test]
    fn a_failure_says_which_server_answers_what() {
        let server = |name: &str| NameServer {
            name: name.to_owned(),
            addresses: Vec::new(),
            is_recursive: false,
        };
        let (one, two, three) = (server("ns1"), server("ns2"), server("ns3"));
        let stale = judge(ResponseCode::NoError, vec!["old".to_owned()], "new");
        let none = judge(ResponseCode::NXDomain, Vec::new(), "new");
        let record = TxtRecord {
            name: "_acme-challenge.school.org".to_owned(),
            value: "new".to_owned(),
        };
        let answers = [(&one, Answer::Seen), (&two, stale), (&three, none)];
        let error = not_seen(&record, Duration::from_secs(90), &answers);
        assert_eq!(
            error.message,
            "the TXT record _acme-challenge.school.org was written, but not every name server has \
             it after 90 s (ns1: has it; ns2: another value, `old`; ns3: there is no such name)"
        );
    }
}
