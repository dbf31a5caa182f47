//! Open files over the Unix socket. That answers are those of HTTP is checked wherever a test asks
//! ([`Server::send`]).

use std::os::unix::fs::PermissionsExt as _;

use prost::Message as _;
use proto::files::v1::{HandoffAnswer, HandoffRequest};
use proto::handoff::{ANSWER_LIMIT, Connection, HandoffError, Listener};
use static_server::handoff::Socket;

use crate::support::{Server, file_request};

#[tokio::test]
async fn files_that_are_big_come_open() {
    let server = Server::start().await;
    let content = vec![3; 1_000_000];
    server.write("big", &content);
    server.write("small", "small");
    let ask = async |path: &str| server.hand_over("GET", path, &[]).await;
    let (big, file) = ask("/srv/big").await;
    assert!(file.is_some());
    assert_eq!(big.body, content);
    let (small, file) = ask("/srv/small").await;
    assert!(file.is_none(), "its bytes are in the message");
    assert_eq!(small.text(), "small");
    let range = [("range", "bytes=100000-900000")];
    let (part, file) = server.hand_over("GET", "/srv/big", &range).await;
    assert!(file.is_some());
    assert_eq!(part.header("content-range"), "bytes 100000-900000/1000000");
    assert_eq!(part.body.len(), 800_001);
}

#[tokio::test]
async fn only_what_may_be_read_is_handed_over() {
    let server = Server::start().await;
    server.write("static/big", vec![3; 100_000]);
    server.write("media/big", vec![4; 100_000]);
    std::os::unix::fs::symlink("/etc/passwd", server.path("static/link")).unwrap();
    let root = file_request("/srv/static").to_header().unwrap();
    let fields = [("portico-file", root.as_str())];
    for (path, status) in [("/big", 200), ("/../media/big", 404), ("/link", 404)] {
        let (reply, file) = server.hand_over("GET", path, &fields).await;
        assert_eq!(
            (reply.status.as_u16(), file.is_some()),
            (status, status == 200),
            "{path}"
        );
    }
}

#[tokio::test]
async fn nonsense_ends_the_connection_and_no_other() {
    let server = Server::start().await;
    server.write("a", "a");
    let request = |method: &str, target: &str| {
        let (method, target) = (method.to_owned(), target.to_owned());
        HandoffRequest {
            method,
            target,
            fields: Vec::new(),
        }
        .encode_to_vec()
    };
    let long = request("GET", &"x".repeat(70_000));
    for message in [
        vec![0xff; 10],
        long,
        request("G T", "/"),
        request("GET", "a b"),
        request("", ""),
    ] {
        let connection = Connection::open(&server.socket()).unwrap();
        connection.send(&message, None).await.unwrap();
        let answer = connection.receive::<HandoffAnswer>(ANSWER_LIMIT).await;
        assert!(matches!(answer, Err(HandoffError::Closed)), "{answer:?}");
    }
    let (reply, _) = server.hand_over("GET", "/srv/a", &[]).await;
    assert_eq!(reply.text(), "a");
}

#[tokio::test]
async fn the_socket_is_private_and_goes_with_the_server() {
    let mut server = Server::start().await;
    let socket = server.socket();
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let idle = Connection::open(&socket).unwrap();
    server.shutdown.token.cancel();
    server.app.take().unwrap().finish().await;
    assert!(!socket.exists());
    let answer = idle.receive::<HandoffAnswer>(ANSWER_LIMIT).await;
    assert!(matches!(answer, Err(HandoffError::Closed)), "{answer:?}");
}

#[tokio::test]
async fn sockets_of_replicas_that_are_gone_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    drop(Listener::bind(&path("gone.files")).unwrap());
    let living = Listener::bind(&path("living.files")).unwrap();
    let beginning = Listener::bind(&path("beginning.new")).unwrap();
    std::fs::write(path("other"), "").unwrap();
    let socket = Socket::bind(folder.path(), "own").unwrap();
    let mut names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["beginning.new", "living.files", "other", "own.files"]
    );
    drop((living, beginning));
    drop(socket);
}
