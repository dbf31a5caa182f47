use std::future::poll_fn;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use prost::Message as _;
use proto::files::v1::handoff_segment::Content;
use proto::files::v1::{
    HandoffAnswer, HandoffField, HandoffFile, HandoffRange, HandoffRequest, HandoffSegment,
};
use proto::handoff::{FileState, Listener, REQUEST_LIMIT};
use tempfile::TempDir;

use super::{Handoff, Limits, Replicas};
use crate::body::ResponseBody;
use crate::testing::{Site, run, upstream};

/// A message as it is sent, and a descriptor with it; `None` closes the connection.
type Sent = Option<(Vec<u8>, Option<OwnedFd>)>;

/// A static-server's socket in `folder` that answers with what `respond` gives.
fn replica(folder: &Path, name: &str, respond: impl Fn(HandoffRequest) -> Sent + 'static) {
    let listener = Listener::bind(&folder.join(format!("{name}.files"))).unwrap();
    let respond = Rc::new(respond);
    tokio::task::spawn_local(async move {
        loop {
            let connection = listener.accept().await.unwrap();
            let respond = Rc::clone(&respond);
            tokio::task::spawn_local(async move {
                while let Ok((request, _)) = connection.receive(REQUEST_LIMIT).await {
                    let Some((message, file)) = respond(request) else {
                        return;
                    };
                    let file = file.as_ref().map(|file| file.as_fd());
                    connection.send(&message, file).await.unwrap();
                }
            });
        }
    });
}

fn literal(text: &str) -> HandoffSegment {
    HandoffSegment {
        content: Some(Content::Literal(text.into())),
    }
}

fn range(offset: u64, length: u64) -> HandoffSegment {
    HandoffSegment {
        content: Some(Content::Range(HandoffRange { offset, length })),
    }
}

fn length(length: u64) -> HandoffField {
    HandoffField {
        name: "content-length".into(),
        value: length.to_string().into(),
    }
}

/// An answer with segments of `file`.
fn answer(file: &Path, body: Vec<HandoffSegment>) -> (HandoffAnswer, Option<OwnedFd>) {
    let file = std::fs::File::open(file).unwrap();
    let state = FileState::of(&file).unwrap().unwrap();
    let total = body.iter().map(|segment| match &segment.content {
        Some(Content::Literal(bytes)) => bytes.len() as u64,
        Some(Content::Range(range)) => range.length,
        None => 0,
    });
    let answer = HandoffAnswer {
        declined: false,
        status: 200,
        fields: vec![length(total.sum())],
        body,
        file: Some(HandoffFile {
            size: state.size,
            modified_seconds: state.modified.0,
            modified_nanoseconds: state.modified.1,
            path: "/srv/file".into(),
        }),
    };
    (answer, Some(file.into()))
}

fn sent((answer, file): (HandoffAnswer, Option<OwnedFd>)) -> Sent {
    Some((answer.encode_to_vec(), file))
}

/// A folder with a file of `content`.
fn folder(content: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), content).unwrap();
    folder
}

/// The replicas of a folder as one worker sees them.
fn handoff(folder: &TempDir, open_files: usize) -> Handoff {
    let replicas = Arc::<Replicas>::default();
    replicas.look(folder.path()).unwrap();
    let limits = Limits {
        open_files,
        patience: Duration::from_millis(200),
    };
    Handoff::with_limits(replicas, limits)
}

async fn get(handoff: &Handoff) -> Option<Response<ResponseBody>> {
    handoff
        .ask(&Request::get("/file?x=1").body(()).unwrap())
        .await
}

async fn chunk(body: &mut ResponseBody) -> Option<Result<Bytes, String>> {
    let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
    Some(match frame {
        Ok(frame) => Ok(frame.into_data().unwrap()),
        Err(error) => Err(error.to_string()),
    })
}

/// The whole body, or why it broke off.
async fn text(response: Response<ResponseBody>) -> Result<Vec<u8>, String> {
    let mut body = response.into_body();
    let mut text = Vec::new();
    while let Some(chunk) = chunk(&mut body).await {
        text.extend_from_slice(&chunk?);
    }
    Ok(text)
}

#[test]
fn bodies_are_made_of_literals_and_ranges() {
    run(async {
        let folder = folder(b"0123456789");
        let file = folder.path().join("file");
        replica(folder.path(), "a", move |request| {
            assert_eq!(
                (request.method.as_str(), request.target.as_str()),
                ("GET", "/file?x=1")
            );
            let body = vec![
                literal("<"),
                range(8, 2),
                literal("|"),
                range(0, 3),
                literal(">"),
            ];
            sent(answer(&file, body))
        });
        let handoff = handoff(&folder, 4);
        for _ in 0..3 {
            let response = get(&handoff).await.unwrap();
            assert_eq!(response.body().size_hint().exact(), Some(8));
            assert_eq!(text(response).await.unwrap(), b"<89|012>");
        }
        let idle = handoff.peers.borrow().all[0].idle.borrow().len();
        assert_eq!(idle, 1, "one connection served all");
    });
}

#[test]
fn big_files_come_in_chunks() {
    run(async {
        let content: Vec<u8> = (0..1_000_003_u32)
            .map(|number| (number % 251) as u8)
            .collect();
        let folder = folder(&content);
        let file = folder.path().join("file");
        replica(folder.path(), "a", move |_| {
            sent(answer(&file, vec![range(1, 1_000_002)]))
        });
        let response = get(&handoff(&folder, 4)).await.unwrap();
        assert!(text(response).await.unwrap() == content[1..]);
    });
}

#[test]
fn a_file_that_changes_breaks_the_transfer() {
    run(async {
        for change in ["truncate", "overwrite"] {
            let folder = folder(&vec![7; 2_000_000]);
            let file = folder.path().join("file");
            let opened = file.clone();
            replica(folder.path(), "a", move |_| {
                sent(answer(&opened, vec![range(0, 2_000_000)]))
            });
            let mut body = get(&handoff(&folder, 4)).await.unwrap().into_body();
            assert!(chunk(&mut body).await.unwrap().is_ok());
            let writer = std::fs::File::options().write(true).open(&file).unwrap();
            if change == "truncate" {
                writer.set_len(1000).unwrap();
            } else {
                std::os::unix::fs::FileExt::write_all_at(&writer, b"x", 1_900_000).unwrap();
            }
            assert!(chunk(&mut body).await.unwrap().is_err(), "{change}");
            assert!(chunk(&mut body).await.is_none());
        }
    });
}

#[test]
fn a_file_that_was_replaced_is_sent_to_its_end() {
    run(async {
        let folder = folder(&vec![7; 2_000_000]);
        let file = folder.path().join("file");
        let opened = file.clone();
        replica(folder.path(), "a", move |_| {
            sent(answer(&opened, vec![range(0, 2_000_000)]))
        });
        let response = get(&handoff(&folder, 4)).await.unwrap();
        std::fs::write(folder.path().join("new"), "new").unwrap();
        std::fs::rename(folder.path().join("new"), &file).unwrap();
        assert_eq!(text(response).await.unwrap(), vec![7; 2_000_000]);
    });
}

#[test]
fn open_files_are_bounded() {
    run(async {
        let folder = folder(&vec![7; 1_000_000]);
        let file = folder.path().join("file");
        replica(folder.path(), "a", move |_| {
            sent(answer(&file, vec![range(0, 1_000_000)]))
        });
        let handoff = handoff(&folder, 2);
        let first = get(&handoff).await.unwrap();
        let second = get(&handoff).await.unwrap();
        assert!(get(&handoff).await.is_none());
        assert_eq!(text(first).await.unwrap().len(), 1_000_000);
        let third = get(&handoff).await;
        assert!(third.is_some());
        drop((second, third));
        assert_eq!(handoff.open_files.available_permits(), 2);
    });
}

/// Answers that no static-server gives.
fn nonsense(file: &Path) -> Vec<(&'static str, Sent)> {
    let with = |change: &dyn Fn(&mut HandoffAnswer)| {
        let (mut message, descriptor) = answer(file, vec![range(0, 10)]);
        change(&mut message);
        sent((message, descriptor))
    };
    let without_file = answer(file, vec![range(0, 10)]).0.encode_to_vec();
    let device = || Some(std::fs::File::open("/dev/zero").unwrap().into());
    vec![
        ("hangs up", None),
        ("no message", Some((vec![0xff; 100], None))),
        ("too long", Some((vec![0; 100_000], None))),
        ("empty", with(&|answer| *answer = HandoffAnswer::default())),
        ("status", with(&|answer| answer.status = 99)),
        ("interim", with(&|answer| answer.status = 103)),
        ("big status", with(&|answer| answer.status = 65_736)),
        (
            "field",
            with(&|answer| answer.fields[0].name = "a b".into()),
        ),
        (
            "value",
            with(&|answer| answer.fields[0].value = b"1\n".to_vec()),
        ),
        ("no length", with(&|answer| answer.fields.clear())),
        ("short", with(&|answer| answer.fields = vec![length(9)])),
        (
            "two lengths",
            with(&|answer| answer.fields.push(length(10))),
        ),
        ("long", with(&|answer| answer.body = vec![range(0, 11)])),
        (
            "overflow",
            with(&|answer| answer.body = vec![range(u64::MAX, 10)]),
        ),
        (
            "nothing",
            with(&|answer| answer.body = vec![range(0, 10), range(3, 0)]),
        ),
        (
            "no segment",
            with(&|answer| answer.body = vec![HandoffSegment::default()]),
        ),
        ("body of a 304", with(&|answer| answer.status = 304)),
        ("unspoken file", with(&|answer| answer.file = None)),
        ("no file", Some((without_file.clone(), None))),
        ("a device", Some((without_file, device()))),
    ]
}

#[test]
fn replicas_that_make_no_sense_are_passed_over() {
    run(async {
        let fallback = upstream(|_, _| Response::new("over HTTP".into())).await;
        let count = nonsense(&folder(b"0123456789").path().join("file")).len();
        for index in 0..count {
            let folder = folder(b"0123456789");
            let file = folder.path().join("file");
            let name = nonsense(&file)[index].0;
            let bad = file.clone();
            replica(folder.path(), "a", move |_| {
                nonsense(&bad).swap_remove(index).1
            });
            let site = Site::with_static_server("http:// {\nfile_server\n}", &fallback);
            site.worker.shared.replicas.look(folder.path()).unwrap();
            assert_eq!(site.get("/file").await.body, "over HTTP", "{name}");
            assert_eq!(site.get("/file").await.body, "over HTTP", "{name}, shunned");

            let good = file.clone();
            replica(folder.path(), "b", move |_| {
                sent(answer(&good, vec![range(0, 10)]))
            });
            let site = Site::with_static_server("http:// {\nfile_server\n}", &fallback);
            site.worker.shared.replicas.look(folder.path()).unwrap();
            for _ in 0..2 {
                assert_eq!(site.get("/file").await.body, "0123456789", "{name}");
            }
        }
    });
}

#[test]
fn a_silent_replica_is_not_waited_for_without_end() {
    run(async {
        let folder = folder(b"x");
        let listener = Listener::bind(&folder.path().join("a.files")).unwrap();
        let handoff = handoff(&folder, 4);
        assert!(get(&handoff).await.is_none());
        drop(listener);
        assert_eq!(handoff.open_files.available_permits(), 4);
    });
}

#[test]
fn connections_that_were_closed_meanwhile_are_replaced() {
    run(async {
        let folder = folder(b"0123456789");
        let file = folder.path().join("file");
        let asked = std::cell::Cell::new(0);
        replica(folder.path(), "a", move |_| {
            asked.set(asked.get() + 1);
            // Every second request of a connection finds it closed.
            (asked.get() % 2 == 1)
                .then(|| sent(answer(&file, vec![range(0, 10)])))
                .flatten()
        });
        let handoff = handoff(&folder, 4);
        for _ in 0..4 {
            assert_eq!(
                text(get(&handoff).await.unwrap()).await.unwrap(),
                b"0123456789"
            );
        }
    });
}

#[test]
fn without_a_socket_or_a_replica_files_come_over_http() {
    run(async {
        let fallback = upstream(|_, _| Response::new("over HTTP".into())).await;
        let site = Site::with_static_server("http:// {\nfile_server\n}", &fallback);
        let folder = folder(b"x");
        site.worker
            .shared
            .replicas
            .look(&folder.path().join("none"))
            .unwrap();
        assert_eq!(site.get("/file").await.body, "over HTTP");
        drop(Listener::bind(&folder.path().join("gone.files")).unwrap());
        std::fs::write(folder.path().join("no.files"), "no socket").unwrap();
        site.worker.shared.replicas.look(folder.path()).unwrap();
        assert!(site.worker.handoff.is_available());
        assert_eq!(site.get("/file").await.body, "over HTTP");
    });
}

#[test]
fn what_does_not_fit_goes_over_http() {
    run(async {
        let fallback = upstream(|_, _| Response::new("over HTTP".into())).await;
        let site = Site::with_static_server("http:// {\nfile_server\n}", &fallback);
        let folder = folder(b"x");
        replica(folder.path(), "a", |_| {
            let answer = HandoffAnswer {
                declined: true,
                ..HandoffAnswer::default()
            };
            sent((answer, None))
        });
        site.worker.shared.replicas.look(folder.path()).unwrap();
        assert_eq!(site.get("/file").await.body, "over HTTP");
        let long =
            Request::get("http://example.com/file").header("if-none-match", "x".repeat(70_000));
        assert_eq!(site.send(long).await.body, "over HTTP");
    });
}

#[test]
fn heads_and_errors_are_as_over_http() {
    run(async {
        let folder = folder(b"0123456789");
        replica(folder.path(), "a", |request| {
            let status = match (request.method.as_str(), request.target.as_str()) {
                ("HEAD", "/file") => 200,
                (_, "/file") => 304,
                _ => 404,
            };
            let answer = HandoffAnswer {
                status,
                fields: vec![length(if status == 404 { 0 } else { 10 })],
                ..HandoffAnswer::default()
            };
            sent((answer, None))
        });
        let site = Site::new("http:// {\nfile_server\n}");
        site.worker.shared.replicas.look(folder.path()).unwrap();
        let head = site.send(Request::head("http://example.com/file")).await;
        assert_eq!(
            (head.status, head.header("content-length")),
            (StatusCode::OK, "10".into())
        );
        assert_eq!(site.get("/file").await.status, 304);
        assert_eq!(site.get("/none").await.status, 404);
    });
}
