//! Questions and updates to one name server, over UDP with TCP for what does not fit (RFC 1035
//! section 4.2).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

/// How long one datagram is waited for.
const DATAGRAM_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a question is sent.
const DATAGRAMS: usize = 3;
/// How long an exchange over TCP may take.
const STREAM_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest datagram without EDNS is 512 bytes; some send longer ones all the same.
const LONGEST_DATAGRAM: usize = 4096;

/// Asks `server` for records of `name`. With `recursive` it is to ask others in turn.
///
/// # Errors
/// When no answer comes that can be read, in words.
pub(super) async fn ask(
    server: SocketAddr,
    name: &Name,
    kind: RecordType,
    recursive: bool,
) -> Result<Message, String> {
    let mut question = Message::query();
    question.metadata.recursion_desired = recursive;
    question.add_query(Query::query(name.clone(), kind));
    let bytes = question.to_vec().map_err(|error| error.to_string())?;
    let answer = by_datagram(server, &question, &bytes)
        .await
        .map_err(|error| error.to_string())?;
    if !answer.truncation {
        return Ok(answer);
    }
    let answer = by_stream(server, &bytes)
        .await
        .map_err(|error| error.to_string())?;
    parse(&answer, &question).ok_or_else(|| "it sent an answer to something else".to_owned())
}

/// Sends `message` over TCP and returns the answer's bytes.
///
/// # Errors
/// When none comes.
pub(super) async fn by_stream(server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    let exchange = async {
        let length = u16::try_from(message.len()).map_err(io::Error::other)?;
        let mut stream = TcpStream::connect(server).await?;
        stream
            .write_all(&[&length.to_be_bytes(), message].concat())
            .await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; length.into()];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    };
    tokio::time::timeout(STREAM_TIMEOUT, exchange)
        .await
        .map_err(|_| no_answer())?
}

async fn by_datagram(server: SocketAddr, question: &Message, bytes: &[u8]) -> io::Result<Message> {
    let own: SocketAddr = if server.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(own).await?;
    socket.connect(server).await?;
    for _ in 0..DATAGRAMS {
        socket.send(bytes).await?;
        let answer = tokio::time::timeout(DATAGRAM_TIMEOUT, receive(&socket, question));
        if let Ok(answer) = answer.await {
            return answer;
        }
    }
    Err(no_answer())
}

/// Takes the first datagram that answers `question`; anything else may be forged or late.
async fn receive(socket: &UdpSocket, question: &Message) -> io::Result<Message> {
    let mut buffer = vec![0; LONGEST_DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(answer) = parse(&buffer[..length], question) {
            return Ok(answer);
        }
    }
}

fn parse(answer: &[u8], question: &Message) -> Option<Message> {
    let answer = Message::from_vec(answer).ok()?;
    let is_ours = answer.id == question.id
        && (answer.queries.is_empty() || answer.queries == question.queries);
    is_ours.then_some(answer)
}

fn no_answer() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it does not answer")
}
