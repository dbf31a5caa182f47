//! Start and end.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::Server;

#[tokio::test]
async fn requests_are_finished_at_the_end() {
    let mut server = Server::start().await;
    let size = 20_000_000;
    server.write("big", vec![1; size]);
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    let mut busy = TcpStream::connect(server.address).await.unwrap();
    busy.write_all(b"GET /srv/big HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = vec![0; 1000];
    busy.read_exact(&mut answer).await.unwrap();

    let app = server.app.take().unwrap();
    let finishing = tokio::spawn(app.finish());
    server.shutdown.token.cancel();
    busy.read_to_end(&mut answer).await.unwrap();
    assert!(answer.len() > size);
    assert!(finishing.await.unwrap(), "an idle connection is waited for");
    assert!(
        matches!(idle.read(&mut [0; 1]).await, Ok(0) | Err(_)),
        "an idle connection is closed"
    );
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let server = Server::start().await;
    server.write("big", vec![1; 50_000_000]);
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream
            .write_all(b"GET /srv/big HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut first = [0; 1000];
        stream.read_exact(&mut first).await.unwrap();
    }
    let tasks = server.shutdown.tasks.clone();
    // The tasks of the two listeners and the events server's remain.
    crate::support::eventually("ending", || async { tasks.len() <= 3 }).await;
}
