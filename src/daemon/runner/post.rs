//! One POST of one JSON text, on a connection of its own.
//!
//! Names are resolved by getaddrinfo here: it blocks a thread of the runner and nobody else, and whoever is told a few
//! things a day needs no cache.

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::tls;
use crate::config::Webhook;

/// Any 2xx is success. The error says nothing of the URL but its host.
pub(super) async fn post(webhook: &Webhook, body: String) -> Result<(), String> {
    let timeout = webhook.timeout;
    let exchange = async {
        let socket = TcpStream::connect((webhook.host.as_str(), webhook.port))
            .await
            .map_err(|error| format!("no connection to port {}: {error}", webhook.port))?;
        if !webhook.tls {
            return exchange(socket, webhook, body).await;
        }
        let connector = TlsConnector::from(tls::client(webhook.ca_file.as_deref())?);
        let name = ServerName::try_from(webhook.host.clone()).map_err(|error| error.to_string())?;
        let socket = connector.connect(name, socket).await.map_err(|error| format!("no TLS: {error}"))?;
        exchange(socket, webhook, body).await
    };
    let status = within(timeout, exchange).await?;
    match status {
        200..300 => Ok(()),
        300..400 => {
            Err(format!("answered {status}: redirects are not followed, write the URL that it leads to"))
        }
        _ => Err(format!("answered {status}")),
    }
}

async fn within<T>(timeout: Duration, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| Err(format!("no answer within {timeout:?}")))
}

/// The status. What follows the head is of no interest, and goes with the connection.
async fn exchange<S>(socket: S, webhook: &Webhook, body: String) -> Result<u16, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let request = request(webhook, body)?;
    let failed = |error: hyper::Error| format!("no answer: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(failed)?;
    let mut connection = std::pin::pin!(connection);
    let mut response = std::pin::pin!(sender.send_request(request));
    let response: Response<_> = tokio::select! {
        response = &mut response => response.map_err(failed)?,
        // It drives the request; its end without an answer is the request's as well.
        end = &mut connection => {
            end.map_err(failed)?;
            response.await.map_err(failed)?
        }
    };
    Ok(response.status().as_u16())
}

fn request(webhook: &Webhook, body: String) -> Result<Request<Full<Bytes>>, String> {
    let host = if webhook.host.contains(':') { format!("[{}]", webhook.host) } else { webhook.host.clone() };
    let usual = if webhook.tls { 443 } else { 80 };
    let host = if webhook.port == usual { host } else { format!("{host}:{}", webhook.port) };
    let mut request = Request::post(webhook.target.0.as_str())
        .header(HOST, host)
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("vipgate/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(body)))
        .map_err(|_| "the URL cannot be asked for".to_owned())?;
    for (name, value) in &webhook.headers {
        let name = hyper::header::HeaderName::try_from(name).map_err(|_| unusable_header())?;
        let mut value = HeaderValue::try_from(value.0.as_str()).map_err(|_| unusable_header())?;
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

fn unusable_header() -> String {
    "a header cannot be sent: names are ASCII letters, digits and \"-\", values have no control characters"
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::daemon::runner::tls::tests::localhost;
    use std::path::PathBuf;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn webhook(tls: bool, host: &str, port: u16, ca_file: Option<PathBuf>) -> Webhook {
        Webhook {
            tls,
            host: host.into(),
            port,
            target: Secret("/hook?key=s3cret".into()),
            headers: vec![("Authorization".into(), Secret("Bearer t0ken".into()))],
            timeout: Duration::from_secs(10),
            tries: 1,
            ca_file,
        }
    }

    /// One exchange with whoever connects: what was heard, to the end of the body.
    async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S, answer: &str) -> String {
        let mut heard = vec![];
        while !heard.ends_with(b"}") {
            let mut piece = [0; 1024];
            match socket.read(&mut piece).await.unwrap_or(0) {
                0 => break,
                n => heard.extend_from_slice(&piece[..n]),
            }
        }
        // Whoever is not trusted is not listened to.
        let _ = socket.write_all(answer.as_bytes()).await;
        let _ = socket.shutdown().await;
        String::from_utf8_lossy(&heard).into_owned()
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
    }

    #[test]
    fn only_a_2xx_is_success() {
        let table = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Ok(())),
            ("HTTP/1.1 204 No Content\r\n\r\n", Ok(())),
            (
                "HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
                Err("redirects are not followed"),
            ),
            ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", Err("answered 403")),
            ("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", Err("answered 503")),
            ("nonsense\r\n\r\n", Err("no answer")),
            ("", Err("no answer")),
        ];
        run(async {
            for (text, expect) in table {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let port = listener.local_addr().unwrap().port();
                let hook = webhook(false, "127.0.0.1", port, None);
                let serve = async { answer(listener.accept().await.unwrap().0, text).await };
                let (got, heard) = tokio::join!(post(&hook, "{}".into()), serve);
                match (&got, expect) {
                    (Ok(()), Ok(())) => (),
                    (Err(why), Err(part)) => {
                        assert!(why.contains(part), "{text}: {why}");
                        assert!(!why.contains("s3cret") && !why.contains("t0ken"), "{why}");
                    }
                    _ => panic!("{text}: {got:?}"),
                }
                for line in [
                    "POST /hook?key=s3cret HTTP/1.1\r\n",
                    &format!("host: 127.0.0.1:{port}\r\n"),
                    "authorization: Bearer t0ken\r\n",
                    "content-type: application/json\r\n",
                    "content-length: 2\r\n",
                ] {
                    assert!(heard.contains(line), "{line:?} is not in {heard}");
                }
            }
            assert!(!format!("{:?}", webhook(true, "a", 1, None)).contains("s3cret"));
        });
    }

    #[test]
    fn who_does_not_answer_is_given_up() {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let hook =
                Webhook { timeout: Duration::from_millis(100), ..webhook(false, "127.0.0.1", port, None) };
            let error = post(&hook, "{}".into()).await.unwrap_err();
            assert!(error.contains("no answer within 100ms"), "{error}");
            drop(listener);
            let error = post(&hook, "{}".into()).await.unwrap_err();
            assert!(error.contains(&format!("no connection to port {port}")), "{error}");
        });
    }

    #[test]
    fn over_tls_only_to_whom_the_authorities_vouch_for() {
        let (acceptor, authority) = localhost();
        let folder = std::env::temp_dir().join(format!("vipgate-post-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (good, empty) = (folder.join("ca.pem"), folder.join("empty.pem"));
        std::fs::write(&good, authority).unwrap();
        std::fs::write(&empty, "").unwrap();
        let table: [(&str, Option<PathBuf>, Option<&str>); 4] = [
            ("localhost", Some(good.clone()), None),
            // Another name than that of the certificate.
            ("127.0.0.1", Some(good), Some("no TLS")),
            // Mozilla knows nobody of that kind.
            ("localhost", None, Some("no TLS")),
            ("localhost", Some(empty), Some("it must hold PEM certificates")),
        ];
        run(async {
            for (host, ca_file, expect) in table {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let port = listener.local_addr().unwrap().port();
                let hook = webhook(true, host, port, ca_file.clone());
                let serve = tokio::spawn({
                    let acceptor = acceptor.clone();
                    async move {
                        let socket = acceptor.accept(listener.accept().await.unwrap().0).await.ok()?;
                        Some(answer(socket, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await)
                    }
                });
                let got = post(&hook, "{}".into()).await;
                match expect {
                    None => {
                        got.unwrap();
                        assert!(serve.await.unwrap().unwrap().contains("Bearer t0ken"));
                    }
                    Some(part) => {
                        let why = got.unwrap_err();
                        assert!(why.contains(part), "{host} {ca_file:?}: {why}");
                    }
                }
            }
        });
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
