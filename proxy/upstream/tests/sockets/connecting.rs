use http::Request;
use tokio::net::{TcpListener, UnixListener};
use upstream::{Address, SendErrorKind, Target, TargetSettings};

use crate::peer::{
    Outgoing, Upstream, client, full, get, request, run, settings, spawn_send, text,
};

fn unsent(error: upstream::SendError<Outgoing>) -> Request<Outgoing> {
    *error.unsent.expect("nothing was sent")
}

#[test]
fn a_refused_request_comes_back_whole() {
    run(async {
        let address = ports::free_address().unwrap();
        let target = Target::new(settings(address)).unwrap();
        let (client, request) = (client(), request("POST", "/path?query", full("body")));
        let error = client.send(&target, request).await.unwrap_err();
        assert_eq!(error.kind, SendErrorKind::Refused);
        let request = unsent(error);
        assert_eq!(request.uri(), "/path?query");
        assert_eq!(request.headers()["host"], "app.test");

        // The same port, up again: the same request goes there.
        let upstream = TcpListener::bind(address).await.unwrap();
        let sending = spawn_send(&client, &target, request);
        let (stream, _) = upstream.accept().await.unwrap();
        let mut head = [0; 4];
        tokio::io::AsyncReadExt::read_exact(&mut { stream }, &mut head)
            .await
            .unwrap();
        assert_eq!(&head, b"POST");
        sending.abort();
    });
}

#[test]
fn an_unreachable_name_says_so() {
    run(async {
        let mut settings = TargetSettings::new(Address::Host {
            host: "no-such-service.invalid".into(),
            port: 80,
        });
        settings.dial_timeout = std::time::Duration::from_secs(1);
        let target = Target::new(settings).unwrap();
        let error = client().send(&target, get("/")).await.unwrap_err();
        // Where there is no name server at all, nobody can say that the name does not exist.
        assert!(
            matches!(
                error.kind,
                SendErrorKind::NameNotFound | SendErrorKind::Resolve
            ),
            "{error:?}"
        );
        unsent(error);
    });
}

#[test]
fn names_of_the_hosts_file_are_dialled() {
    run(async {
        let upstream = Upstream::bind().await;
        let target = Target::new(TargetSettings::new(Address::Host {
            host: "localhost".into(),
            port: upstream.address.port(),
        }))
        .unwrap();
        let sending = spawn_send(&client(), &target, get("/"));
        let mut connection = upstream.accept().await;
        connection.head().await;
        connection.write("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(sending.await.unwrap().unwrap().status(), 204);
    });
}

#[test]
fn unix_sockets_are_dialled() {
    run(async {
        let folder = std::env::temp_dir().join(format!("portico-upstream-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("app.sock");
        let target = Target::new(TargetSettings::new(Address::Unix(path.clone()))).unwrap();
        let client = client();
        let error = client.send(&target, get("/")).await.unwrap_err();
        assert_eq!(error.kind, SendErrorKind::Unreachable);
        unsent(error);

        let listener = UnixListener::bind(&path).unwrap();
        let sending = spawn_send(&client, &target, get("/"));
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 5];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut head)
            .await
            .unwrap();
        tokio::io::AsyncWriteExt::write_all(
            &mut stream,
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        )
        .await
        .unwrap();
        assert_eq!(text(sending.await.unwrap().unwrap()).await, "ok");
        std::fs::remove_dir_all(&folder).unwrap();
    });
}
