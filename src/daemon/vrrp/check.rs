//! One look at what is tracked: a connection, an answer, a number in a file.

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// `HTTP/1.1 200` is what is looked at.
const STATUS: usize = 12;
/// A number has fewer digits; what is behind it in the file is not read.
const NUMBER: u64 = 64;

/// The words are for a person.
pub(super) async fn connect(address: SocketAddr) -> io::Result<String> {
    TcpStream::connect(address).await?;
    Ok("connected".to_owned())
}

pub(super) async fn get(address: SocketAddr, uri: String, host: String) -> io::Result<String> {
    let request = format!(
        "GET {uri} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: vipgate-check\r\nConnection: close\r\n\r\n"
    );
    match ask(address, &request).await? {
        status @ 200..=399 => Ok(format!("status {status}")),
        status => Err(io::Error::other(format!("status {status}"))),
    }
}

/// The status of the answer to `request`, of which nothing more is read.
pub(super) async fn ask(address: SocketAddr, request: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut line = [0; STATUS];
    stream.read_exact(&mut line).await?;
    let strange = || io::Error::new(io::ErrorKind::InvalidData, "what answers does not speak HTTP/1");
    status(&line).ok_or_else(strange)
}

/// RFC 9112 section 4.
fn status(line: &[u8; STATUS]) -> Option<u16> {
    match line.split_at(9) {
        (b"HTTP/1.0 " | b"HTTP/1.1 ", code) if code.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(code).ok()?.parse().ok()
        }
        _ => None,
    }
}

/// That of the first line.
pub(super) fn number(path: &Path) -> Result<i64, String> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(NUMBER).read_to_end(&mut text));
    read.map_err(|error| format!("it cannot be read: {error}"))?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default().trim();
    line.parse().map_err(|_| "its first line is no whole number".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_from_the_first_bytes() {
        for (line, expect) in [
            (b"HTTP/1.1 200", Some(200)),
            (b"HTTP/1.0 503", Some(503)),
            (b"HTTP/1.1 2xx", None),
            (b"HTTP/2.0 200", None),
            (b"SSH-2.0-Open", None),
        ] {
            assert_eq!(status(line), expect, "{line:?}");
        }
    }

    #[test]
    fn only_a_good_answer_passes() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for (answer, expect) in [
                (&b"HTTP/1.1 204 No Content\r\n\r\n"[..], Ok("status 204")),
                (b"HTTP/1.1 404 Not Found\r\n\r\n", Err("status 404")),
                (b"220 smtp.example.org ESMTP\r\n", Err("what answers does not speak HTTP/1")),
                (b"HTTP/1.1", Err("early eof")),
            ] {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let server = async {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut request = [0; 256];
                    let length = stream.read(&mut request).await.unwrap();
                    stream.write_all(answer).await.unwrap();
                    String::from_utf8_lossy(&request[..length]).into_owned()
                };
                let asked = get(address, "/up".to_owned(), "example.org".to_owned());
                let (result, request) = tokio::join!(asked, server);
                let result = result.map_err(|error| error.to_string());
                assert_eq!(result.as_deref().map_err(String::as_str), expect);
                assert!(request.starts_with("GET /up HTTP/1.1\r\nHost: example.org\r\n"), "{request}");
                drop(listener);
                assert!(connect(address).await.is_err());
            }
        });
    }

    #[test]
    fn the_first_line_is_a_number_or_there_is_none() {
        let path = std::env::temp_dir().join(format!("vipgate-number-{}", std::process::id()));
        for (text, expect) in [
            ("7\n", Some(7)),
            (" -20 \nmore", Some(-20)),
            ("", None),
            ("seven", None),
            ("1e3", None),
            ("99999999999999999999", None),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(number(&path).ok(), expect, "{text:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(number(&path).unwrap_err().contains("cannot be read"));
    }
}
