//! The look at a name, with name servers and proxies of the tests' own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Notify;

use super::*;
use crate::challenge::ProxyId;
use crate::finding::Severity;
use crate::policy::LETS_ENCRYPT;

const A: u16 = 1;
const AAAA: u16 = 28;
const CAA: u16 = 257;

/// What a name server says of a question.
#[derive(Clone, Debug)]
enum Answer {
    /// These records' data.
    Data(Vec<Vec<u8>>),
    /// A response code: 2 is SERVFAIL, 3 is NXDOMAIN.
    Code(u8),
    /// Nothing at all.
    Silence,
}

type Zone = fn(&str, u16) -> Answer;

fn nothing() -> Answer {
    Answer::Data(Vec::new())
}

fn loopback() -> Answer {
    Answer::Data(vec![vec![127, 0, 0, 1]])
}

fn caa(records: &[(&str, &str)]) -> Answer {
    let records = records.iter().map(|(tag, value)| {
        let length = u8::try_from(tag.len()).unwrap();
        [&[0, length], tag.as_bytes(), value.as_bytes()].concat()
    });
    Answer::Data(records.collect())
}

/// A name server on a port of its own that answers by `zone`.
async fn name_server(zone: Zone) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            if let Some(answer) = reply(&buffer[..length], zone) {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    });
    address
}

/// The answer to one query (RFC 1035 section 4.1).
fn reply(query: &[u8], zone: Zone) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    let question = &query[12..at + 5];
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let (code, data) = match zone(&labels.join("."), kind) {
        Answer::Data(data) => (0, data),
        Answer::Code(code) => (code, Vec::new()),
        Answer::Silence => return None,
    };
    let count = u8::try_from(data.len()).unwrap();
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(question);
    for data in data {
        // The name of the question, its type, class IN, a minute.
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 60]);
        answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        answer.extend(data);
    }
    Some(answer)
}

/// A proxy that acknowledges every challenge and answers it on the returned port.
async fn proxy(board: &ChallengeBoard) -> u16 {
    let wake = Arc::new(Notify::new());
    let id = ProxyId(1);
    board.connect(id, Arc::clone(&wake));
    board.label(id, "edge-1".to_owned());
    let acknowledging = board.clone();
    tokio::spawn(async move {
        loop {
            wake.notified().await;
            for open in acknowledging.open() {
                acknowledging.acknowledge(id, open.id);
            }
        }
    });
    let answer = |Path(token): Path<String>, State(board): State<ChallengeBoard>| async move {
        board.find(&token).ok_or(StatusCode::NOT_FOUND)
    };
    let route = axum::routing::get(answer);
    let router = axum::Router::new().route("/.well-known/acme-challenge/{token}", route);
    serve(router.with_state(board.clone())).await
}

async fn serve(router: axum::Router) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

async fn preflight(zone: Zone, board: &ChallengeBoard, http: u16) -> Preflight {
    let dns = Dns::new(&[name_server(zone).await]).unwrap();
    let ports = Ports { http, https: 443 };
    Preflight::new(dns, board.clone(), ports, Mode::Refuse)
}

fn acme(directory_url: &str) -> IssuerPolicy {
    IssuerPolicy::Acme(Box::new(AcmePolicy::new(directory_url, None)))
}

fn quiz() -> Name {
    Name::parse("quiz.school.org").unwrap()
}

/// Looks with a proxy that is reached.
async fn look(zone: Zone, name: &str, directory_url: &str) -> Checked {
    let board = ChallengeBoard::default();
    let port = proxy(&board).await;
    let preflight = preflight(zone, &board, port).await;
    let name = Name::parse(name).unwrap();
    preflight.look(&name, &acme(directory_url)).await
}

fn messages(checked: &Checked) -> Vec<&str> {
    let findings = checked.findings.iter();
    findings.map(|finding| finding.message.as_str()).collect()
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_refused_for_public_authorities_alone() {
    let zone: Zone = |_, _| Answer::Code(3);
    let checked = look(zone, "quiz.school.org", LETS_ENCRYPT).await;
    let refusal = checked.refusal.unwrap();
    assert_eq!(refusal.step, Step::Preflight);
    assert_eq!(
        refusal.message,
        "the DNS has no name quiz.school.org (NXDOMAIN)"
    );
    assert!(
        refusal.hint.contains("make an A record"),
        "{}",
        refusal.hint
    );
    let checked = look(zone, "quiz.school.org", "https://ca.corp.internal/dir").await;
    assert!(checked.refusal.is_none());
    assert_eq!(
        messages(&checked),
        ["the DNS has no name quiz.school.org (NXDOMAIN)"]
    );
}

#[tokio::test]
async fn what_name_servers_fail_at_is_told_in_words_and_not_refused() {
    let cases: [(Zone, &str); 3] = [
        (|_, _| Answer::Code(2), "(SERVFAIL)"),
        (|_, _| nothing(), "neither an A nor an AAAA record"),
        (
            |_, kind| {
                if kind == CAA {
                    nothing()
                } else {
                    Answer::Silence
                }
            },
            "no name server answered",
        ),
    ];
    for (zone, expected) in cases {
        let checked = look(zone, "quiz.school.org", LETS_ENCRYPT).await;
        assert!(checked.refusal.is_none(), "{expected}");
        let found = messages(&checked);
        assert!(
            found.iter().any(|text| text.contains(expected)),
            "{expected}: {found:?}"
        );
    }
}

#[tokio::test]
async fn caa_is_looked_for_up_the_tree_and_forbids() {
    // Only the domain above has a record.
    let zone: Zone = |name, kind| match (name, kind) {
        ("school.org", CAA) => caa(&[("issue", "pki.goog"), ("issuewild", "letsencrypt.org")]),
        (_, A) => loopback(),
        _ => nothing(),
    };
    let checked = look(zone, "quiz.school.org", LETS_ENCRYPT).await;
    let refusal = checked.refusal.unwrap();
    assert!(
        refusal
            .message
            .contains("the CAA records of school.org forbid letsencrypt.org"),
        "{}",
        refusal.message
    );
    assert!(
        refusal
            .hint
            .contains("school.org. CAA 0 issue \"letsencrypt.org\"")
    );
    for allowed in [
        "https://dv.acme-v02.api.pki.goog/directory",
        "https://ca.corp.internal/dir",
    ] {
        assert!(
            look(zone, "quiz.school.org", allowed)
                .await
                .refusal
                .is_none(),
            "{allowed}"
        );
    }
}

#[tokio::test]
async fn a_name_that_leads_here_is_answered_by_our_proxies() {
    let zone: Zone = |_, kind| if kind == A { loopback() } else { nothing() };
    let board = ChallengeBoard::default();
    let port = proxy(&board).await;
    let preflight = preflight(zone, &board, port).await;
    let observation = preflight.observe(&quiz(), true).await;
    let found = observation.port_findings(&quiz(), preflight.ports());
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].severity, Severity::Ok, "{found:?}");
    assert_eq!(observation.proxies[0].proxy, "edge-1");
    assert!(observation.proxies[0].is_given);
    // Withdrawn again.
    assert!(board.open().is_empty());
    // Loopback is told of, and an order is made all the same.
    let checked = preflight.look(&quiz(), &acme(LETS_ENCRYPT)).await;
    assert!(checked.refusal.is_none());
    assert!(messages(&checked)[0].contains("cannot be reached from the internet"));
}

#[tokio::test]
async fn another_machine_behind_the_name_is_told_of_and_not_refused() {
    let zone: Zone = |_, kind| if kind == A { loopback() } else { nothing() };
    let redirect = axum::response::Redirect::permanent("https://elsewhere.test/");
    let elsewhere = axum::Router::new().fallback(move || async move { redirect.clone() });
    let other = axum::Router::new().fallback(|| async { "It works!" });
    let cases = [
        (serve(elsewhere).await, "sends to https://elsewhere.test/"),
        (
            serve(other).await,
            "is answered by something else: another page",
        ),
        (serve(axum::Router::new()).await, "the status 404 Not Found"),
        (ports::free().unwrap(), "refuses connections"),
    ];
    for (port, expected) in cases {
        let board = ChallengeBoard::default();
        proxy(&board).await;
        let preflight = preflight(zone, &board, port).await;
        let checked = preflight.look(&quiz(), &acme(LETS_ENCRYPT)).await;
        assert!(checked.refusal.is_none(), "{expected}");
        let found = messages(&checked);
        assert!(
            found.iter().any(|text| text.contains(expected)),
            "{expected}: {found:?}"
        );
    }
}

#[tokio::test]
async fn repeated_looks_ask_once() {
    static ASKED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let zone: Zone = |_, _| {
        ASKED.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Answer::Code(3)
    };
    let board = ChallengeBoard::default();
    let preflight = preflight(zone, &board, 80).await;
    preflight.look(&quiz(), &acme(LETS_ENCRYPT)).await;
    let asked = ASKED.load(std::sync::atomic::Ordering::SeqCst);
    assert!(asked > 0);
    preflight
        .look(&quiz(), &acme(crate::policy::ZERO_SSL))
        .await;
    assert_eq!(ASKED.load(std::sync::atomic::Ordering::SeqCst), asked);
}

#[tokio::test]
async fn dns_challenges_need_no_address() {
    let zone: Zone = |_, _| Answer::Code(3);
    let mut policy = AcmePolicy::new(LETS_ENCRYPT, None);
    policy.challenges.dns = Some(crate::policy::DnsChallenge {
        provider: crate::policy::DnsProvider::Exec,
        ttl: None,
        propagation_delay: Duration::ZERO,
        propagation_timeout: None,
        propagation_check_disabled: false,
        resolvers: Vec::new(),
        override_domain: None,
    });
    let preflight = preflight(zone, &ChallengeBoard::default(), 80).await;
    let policy = IssuerPolicy::Acme(Box::new(policy));
    let checked = preflight.look(&quiz(), &policy).await;
    assert!(checked.refusal.is_none());
    assert_eq!(messages(&checked), Vec::<&str>::new());
}

#[tokio::test]
async fn looking_can_be_turned_off_or_left_without_consequence() {
    let zone: Zone = |_, _| Answer::Code(3);
    for (mode, findings) in [(Mode::Off, 0), (Mode::Warn, 1)] {
        let dns = Dns::new(&[name_server(zone).await]).unwrap();
        let board = ChallengeBoard::default();
        let preflight = Preflight::new(dns, board, Ports::default(), mode);
        let checked = preflight.look(&quiz(), &acme(LETS_ENCRYPT)).await;
        assert!(checked.refusal.is_none());
        assert_eq!(checked.findings.len(), findings, "{mode:?}");
    }
}

#[tokio::test]
async fn both_kinds_of_addresses_are_found() {
    let zone: Zone = |_, kind| match kind {
        A => Answer::Data(vec![vec![203, 0, 113, 7], vec![203, 0, 113, 8]]),
        AAAA => Answer::Data(vec![[&[0x20, 0x01, 0x0d, 0xb8][..], &[0; 12]].concat()]),
        _ => nothing(),
    };
    let dns = Dns::new(&[name_server(zone).await]).unwrap();
    let expected = ["203.0.113.7", "203.0.113.8", "2001:db8::"];
    let expected = expected.map(|text| text.parse().unwrap());
    assert_eq!(
        dns.addresses("quiz.school.org").await,
        Lookup::Found(expected.into())
    );
}
