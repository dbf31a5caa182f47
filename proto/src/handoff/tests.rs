use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use proptest::prelude::*;
use prost::Message as _;
use rustix::net::ReturnFlags;

use super::{
    ANSWER_LIMIT, Connection, FileState, HandoffError, Listener, REQUEST_LIMIT, fields, headers,
    understand,
};
use crate::files::v1::{HandoffAnswer, HandoffField, HandoffRequest};

async fn pair(folder: &tempfile::TempDir) -> (Connection, Connection) {
    let path = folder.path().join("a.files");
    let listener = Listener::bind(&path).unwrap();
    let client = Connection::open(&path).unwrap();
    (client, listener.accept().await.unwrap())
}

fn request(target: &str) -> HandoffRequest {
    HandoffRequest {
        method: "GET".into(),
        target: target.into(),
        fields: Vec::new(),
    }
}

#[tokio::test]
async fn messages_carry_an_open_file() {
    let folder = tempfile::tempdir().unwrap();
    let (client, server) = pair(&folder).await;
    client
        .send(&request("/a").encode_to_vec(), None)
        .await
        .unwrap();
    let (asked, none) = server
        .receive::<HandoffRequest>(REQUEST_LIMIT)
        .await
        .unwrap();
    assert_eq!((asked.target.as_str(), none.is_none()), ("/a", true));

    let path = folder.path().join("file");
    std::fs::write(&path, "content").unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let answer = HandoffAnswer {
        status: 200,
        ..HandoffAnswer::default()
    };
    let message = answer.encode_to_vec();
    server.send(&message, Some(file.as_fd())).await.unwrap();
    let (got, descriptor) = client.receive::<HandoffAnswer>(ANSWER_LIMIT).await.unwrap();
    assert_eq!(got, answer);
    let descriptor = descriptor.unwrap();
    let flags = rustix::io::fcntl_getfd(&descriptor).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    let mut got = std::fs::File::from(descriptor);
    assert_eq!(
        got.metadata().unwrap().ino(),
        file.metadata().unwrap().ino()
    );
    let mut text = String::new();
    got.read_to_string(&mut text).unwrap();
    assert_eq!(text, "content");
}

#[tokio::test]
async fn messages_that_are_too_long_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (client, server) = pair(&folder).await;
    let long = request(&"x".repeat(REQUEST_LIMIT)).encode_to_vec();
    client.send(&long, None).await.unwrap();
    let error = server.receive::<HandoffRequest>(REQUEST_LIMIT).await;
    assert!(matches!(
        error,
        Err(HandoffError::Nonsense("it is too long"))
    ));
}

#[tokio::test]
async fn an_end_is_told_from_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (client, server) = pair(&folder).await;
    drop(client);
    let error = server.receive::<HandoffRequest>(REQUEST_LIMIT).await;
    assert!(matches!(error, Err(HandoffError::Closed)));
    let error = server.send(b"x", None).await;
    assert!(matches!(error, Err(HandoffError::Closed)));
}

#[test]
fn more_than_one_descriptor_is_refused() {
    let file = || std::fs::File::open("/dev/null").unwrap().into();
    let message = request("/").encode_to_vec();
    let two = vec![file(), file()];
    let error = understand::<HandoffRequest>(&message, ReturnFlags::empty(), two);
    assert!(matches!(error, Err(HandoffError::Nonsense(_))));
    let error = understand::<HandoffRequest>(&message, ReturnFlags::CTRUNC, vec![file()]);
    assert!(matches!(error, Err(HandoffError::Nonsense(_))));
}

#[test]
fn only_regular_files_have_a_state() {
    let folder = tempfile::tempdir().unwrap();
    let state = |path: &std::path::Path| FileState::of(std::fs::File::open(path).unwrap()).unwrap();
    assert!(state(folder.path()).is_none());
    assert!(state(std::path::Path::new("/dev/null")).is_none());
    let path = folder.path().join("file");
    std::fs::write(&path, "12345").unwrap();
    assert_eq!(state(&path).unwrap().size, 5);
}

#[test]
fn fields_survive_the_message() {
    let mut head = http::HeaderMap::new();
    head.insert("etag", "\"a\"".parse().unwrap());
    head.append("x-latin", http::HeaderValue::from_bytes(b"\xe4").unwrap());
    head.append("x-latin", "b".parse().unwrap());
    assert_eq!(headers(fields(&head)).unwrap(), head);
    for (name, value) in [("", "x"), ("a b", "x"), ("a", "x\r\ny: z")] {
        let field = HandoffField {
            name: name.into(),
            value: value.into(),
        };
        assert!(headers(vec![field]).is_err(), "{name:?}: {value:?}");
    }
}

proptest! {
    #[test]
    fn any_message_is_understood_or_refused(message in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = understand::<HandoffAnswer>(&message, ReturnFlags::empty(), Vec::new())
            .map(|(answer, _)| headers(answer.fields));
    }
}
