use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{CNAME, NS, SOA, TXT};
use hickory_proto::rr::{RData, Record, RecordType};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UdpSocket};

use super::*;
use crate::clock::SystemClock;
use crate::policy::Secret;

const TOKEN: &str = "a-token-that-must-not-be-seen";

fn tools() -> Tools {
    let provider = proto::sidecar::identity::provider();
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Tools {
        resolver: Resolver::from_system().unwrap(),
        http: reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .build()
            .unwrap(),
        exec: None,
        clock: Arc::new(SystemClock),
    }
}

fn policy(provider: DnsProvider) -> DnsChallenge {
    DnsChallenge {
        provider,
        ttl: None,
        propagation_delay: Duration::ZERO,
        propagation_timeout: None,
        propagation_check_disabled: false,
        resolvers: Vec::new(),
        override_domain: None,
    }
}

fn record(name: &str, value: &str) -> TxtRecord {
    TxtRecord {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Stands in for Cloudflare: one zone, `school.org`.
#[derive(Debug, Default)]
struct FakeCloudflare {
    next_id: usize,
    /// By id: name and content.
    records: BTreeMap<String, (String, String)>,
}

type Shared = State<Arc<Mutex<FakeCloudflare>>>;
type Answer = (StatusCode, Json<Value>);

impl FakeCloudflare {
    async fn start() -> (SocketAddr, Arc<Mutex<Self>>) {
        let state = Arc::new(Mutex::new(Self::default()));
        let router = Router::new()
            .route("/client/v4/zones", get(zones))
            .route(
                "/client/v4/zones/{zone}/dns_records",
                get(list).post(create),
            )
            .route("/client/v4/zones/{zone}/dns_records/{id}", delete(remove))
            .with_state(Arc::clone(&state));
        (serve(router).await, state)
    }
}

fn done(result: Value) -> Answer {
    let body = json!({ "success": true, "errors": [], "messages": [], "result": result });
    (StatusCode::OK, Json(body))
}

fn refused(status: StatusCode, code: i64, message: &str) -> Answer {
    let errors = json!([{ "code": code, "message": message }]);
    let body = json!({ "success": false, "errors": errors, "messages": [], "result": null });
    (status, Json(body))
}

fn is_allowed(headers: &HeaderMap) -> bool {
    headers.get("authorization").unwrap() == format!("Bearer {TOKEN}").as_str()
}

async fn zones(headers: HeaderMap, Query(query): Query<BTreeMap<String, String>>) -> Answer {
    if !is_allowed(&headers) {
        return refused(StatusCode::FORBIDDEN, 9109, "Invalid access token");
    }
    done(match query["name"].as_str() {
        "school.org" => json!([{ "id": "z1", "name": "school.org" }]),
        _ => json!([]),
    })
}

async fn list(
    Path(zone): Path<String>,
    State(state): Shared,
    Query(query): Query<BTreeMap<String, String>>,
) -> Answer {
    assert_eq!((zone.as_str(), query["type"].as_str()), ("z1", "TXT"));
    let state = state.lock();
    let records = state.records.iter();
    let found = records
        .filter(|(_, (name, _))| *name == query["name"])
        .map(|(id, (name, content))| json!({ "id": id, "name": name, "content": content }));
    done(found.collect())
}

async fn create(
    Path(zone): Path<String>,
    State(state): Shared,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Answer {
    assert!(is_allowed(&headers));
    assert_eq!((zone.as_str(), &body["type"]), ("z1", &json!("TXT")));
    assert!(body["ttl"].as_u64().unwrap() >= 60);
    let text = |field: &str| body[field].as_str().unwrap().to_owned();
    let wanted = (text("name"), text("content"));
    let mut state = state.lock();
    if state.records.values().any(|known| *known == wanted) {
        let message = "An identical record already exists.";
        return refused(StatusCode::BAD_REQUEST, 81058, message);
    }
    state.next_id += 1;
    let id = format!("r{}", state.next_id);
    state.records.insert(id.clone(), wanted);
    done(json!({ "id": id }))
}

async fn remove(
    Path((zone, id)): Path<(String, String)>,
    State(state): Shared,
    headers: HeaderMap,
) -> Answer {
    assert!(is_allowed(&headers));
    assert_eq!(zone, "z1");
    state.lock().records.remove(&id).unwrap();
    done(json!({ "id": id }))
}

fn cloudflare(address: SocketAddr, token: &str) -> Solver {
    let provider = DnsProvider::Cloudflare {
        api_token: Secret::new(token),
        zone_token: None,
        api_url: Some(format!("http://{address}/client/v4")),
    };
    Solver::new(policy(provider), &tools()).unwrap()
}

#[tokio::test]
async fn cloudflare_keeps_two_values_and_loses_the_one_that_is_removed() {
    let (address, state) = FakeCloudflare::start().await;
    let solver = cloudflare(address, TOKEN);
    let (one, two) = (
        record("_acme-challenge.www.school.org", "one"),
        record("_acme-challenge.www.school.org", "two"),
    );
    solver.add(&one).await.unwrap();
    solver.add(&two).await.unwrap();
    // An attempt that was killed had written it already.
    solver.add(&two).await.unwrap();
    let contents = || -> Vec<String> {
        let state = state.lock();
        state
            .records
            .values()
            .map(|(_, text)| text.clone())
            .collect()
    };
    assert_eq!(contents(), ["\"one\"", "\"two\""]);
    solver.remove(&one).await.unwrap();
    assert_eq!(contents(), ["\"two\""]);
    // What is not there need not be removed.
    solver.remove(&one).await.unwrap();
}

#[tokio::test]
async fn cloudflares_words_are_in_the_error_and_the_token_is_not() {
    let (address, _) = FakeCloudflare::start().await;
    let solver = cloudflare(address, "wrong-token");
    let error = solver.add(&record("a.school.org", "x")).await.unwrap_err();
    assert_eq!(
        error.message,
        "Cloudflare's API: GET /client/v4/zones: Invalid access token (9109)"
    );
    assert!(error.hint.contains("Zone.DNS:Edit"), "{error:?}");
    let error = cloudflare(address, TOKEN)
        .add(&record("a.other.org", "x"))
        .await
        .unwrap_err();
    assert!(error.message.contains("no zone that holds a.other.org"));
    for text in [format!("{solver:?}"), format!("{error:?}")] {
        assert!(!text.contains("wrong-token"), "{text}");
    }
}

#[tokio::test]
async fn cloudflare_without_a_token_names_the_variable() {
    let provider = DnsProvider::Cloudflare {
        api_token: Secret::new(""),
        zone_token: None,
        api_url: None,
    };
    let error = Solver::new(policy(provider), &tools()).unwrap_err();
    assert!(error.hint.contains("CLOUDFLARE_API_TOKEN"), "{error:?}");
}

#[tokio::test]
async fn a_webhook_is_posted_what_to_do() {
    let posted: Arc<Mutex<Vec<Value>>> = Arc::default();
    let hook = |State(posted): State<Arc<Mutex<Vec<Value>>>>,
                headers: HeaderMap,
                Json(body): Json<Value>| async move {
        if !is_allowed(&headers) {
            return (StatusCode::UNAUTHORIZED, "who are you?");
        }
        posted.lock().push(body);
        (StatusCode::NO_CONTENT, "")
    };
    let router = Router::new()
        .route("/hook", post(hook))
        .with_state(Arc::clone(&posted));
    let address = serve(router).await;
    let solver = |token: &str| {
        let provider = DnsProvider::Webhook {
            url: format!("http://{address}/hook?key=hidden"),
            token: Some(Secret::new(token)),
        };
        Solver::new(policy(provider), &tools()).unwrap()
    };
    let record = record("_acme-challenge.school.org", "value");
    solver(TOKEN).add(&record).await.unwrap();
    solver(TOKEN).remove(&record).await.unwrap();
    let expected = |action: &str| {
        json!({
            "action": action, "fqdn": "_acme-challenge.school.org", "value": "value", "ttl": 120,
        })
    };
    assert_eq!(*posted.lock(), [expected("present"), expected("cleanup")]);
    let error = solver("other").add(&record).await.unwrap_err();
    assert_eq!(
        error.message,
        format!(
            "the webhook http://{address}/hook answered 401 Unauthorized to `present` of \
             _acme-challenge.school.org: who are you?"
        )
    );
}

/// A name server for `school.org` that knows `records` and counts what it is asked.
async fn name_server(records: Arc<Mutex<Vec<Record>>>) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1024];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let question = Message::from_vec(&buffer[..length]).unwrap();
            let answer = answer(&question, &records.lock());
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    address
}

fn answer(question: &Message, records: &[Record]) -> Vec<u8> {
    let query = question.queries[0].clone();
    let mut answer = Message::new(question.id, MessageType::Response, question.op_code);
    answer.metadata.authoritative = true;
    let of_name: Vec<&Record> = records.iter().filter(|r| r.name == *query.name()).collect();
    let found = of_name
        .iter()
        .filter(|record| record.record_type() == query.query_type())
        .map(|record| (*record).clone());
    answer.add_answers(found.collect::<Vec<_>>());
    if of_name.is_empty() {
        answer.metadata.response_code = ResponseCode::NXDomain;
    }
    if answer.answers.is_empty() {
        let soa = records
            .iter()
            .find(|record| record.record_type() == RecordType::SOA);
        answer.add_authority(soa.unwrap().clone());
    }
    answer.add_query(query);
    answer.to_vec().unwrap()
}

fn zone() -> Vec<Record> {
    let zone = parse_name("school.org").unwrap();
    let server = parse_name("localhost").unwrap();
    let soa = SOA::new(server.clone(), server.clone(), 1, 60, 60, 60, 60);
    vec![
        Record::from_rdata(zone.clone(), 60, RData::SOA(soa)),
        Record::from_rdata(zone, 60, RData::NS(NS(server))),
    ]
}

fn txt(name: &str, value: &str) -> Record {
    let data = RData::TXT(TXT::new(vec![value.to_owned()]));
    Record::from_rdata(parse_name(name).unwrap(), 60, data)
}

/// A solver that asks `servers` and gives them a second.
fn asking(servers: &[SocketAddr]) -> Solver {
    let policy = DnsChallenge {
        resolvers: servers.iter().map(ToString::to_string).collect(),
        propagation_timeout: Some(Duration::from_secs(1)),
        ..policy(DnsProvider::Webhook {
            url: "http://127.0.0.1:9/".to_owned(),
            token: None,
        })
    };
    Solver::new(policy, &tools()).unwrap()
}

#[tokio::test]
async fn an_alias_is_followed_and_a_wildcard_shares_its_names_record() {
    let mut records = zone();
    let alias = |from: &str, to: &str| {
        let data = RData::CNAME(CNAME(parse_name(to).unwrap()));
        Record::from_rdata(parse_name(from).unwrap(), 60, data)
    };
    records.push(alias("_acme-challenge.www.school.org", "x.school.org"));
    records.push(alias("x.school.org", "y.school.org"));
    records.push(alias(
        "_acme-challenge.loop.school.org",
        "_acme-challenge.loop.school.org",
    ));
    let server = name_server(Arc::new(Mutex::new(records))).await;
    let solver = asking(&[server]);
    let locate = async |name: &str| {
        let name = Name::parse(name).unwrap();
        solver.locate(&name, "value".to_owned()).await
    };
    assert_eq!(
        locate("www.school.org").await,
        Ok(record("y.school.org", "value"))
    );
    for name in ["school.org", "*.school.org"] {
        let expected = record("_acme-challenge.school.org", "value");
        assert_eq!(locate(name).await, Ok(expected), "{name}");
    }
    let error = locate("loop.school.org").await.unwrap_err();
    assert!(error.hint.contains("circle"), "{error:?}");
}

#[tokio::test]
async fn a_record_must_be_at_every_server() {
    let records = [zone(), zone()].map(|zone| Arc::new(Mutex::new(zone)));
    let [one, two] = &records;
    let servers = [
        name_server(Arc::clone(one)).await,
        name_server(Arc::clone(two)).await,
    ];
    let solver = asking(&servers);
    let wanted = record("_acme-challenge.school.org", "new");
    // Another value beside it does not matter.
    one.lock().push(txt(&wanted.name, "other"));
    one.lock().push(txt(&wanted.name, "new"));
    two.lock().push(txt(&wanted.name, "old"));
    let error = solver.seen(&wanted).await.unwrap_err();
    let [first, second] = servers;
    assert!(
        error.message.ends_with(&format!(
            "({first}: has it; {second}: another value, `old`)"
        )),
        "{error}"
    );
    two.lock().push(txt(&wanted.name, "new"));
    solver.seen(&wanted).await.unwrap();
}
