//! One mail to everybody who wants it.

use std::path::Path;

use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor, message::Mailbox};

use crate::config::{Email, MailTls};

pub(super) async fn send(email: &Email, node: &str, subject: &str, body: &str) -> Result<(), String> {
    let message = compose(email, subject, body)?;
    let tls = match email.tls {
        MailTls::None => Tls::None,
        MailTls::StartTls => Tls::Required(parameters(email)?),
        MailTls::Tls => Tls::Wrapper(parameters(email)?),
    };
    let hello = ClientId::Domain(email.helo_name.clone().unwrap_or_else(|| node.to_owned()));
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&email.host)
        .port(email.port)
        .tls(tls)
        .hello_name(hello)
        .timeout(Some(email.timeout));
    if let Some((user, password)) = &email.credentials {
        transport = transport.credentials(Credentials::new(user.clone(), password.0.clone()));
    }
    let transport = transport.build();
    match tokio::time::timeout(email.timeout, transport.send(message)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(chain(&error)),
        Err(_) => Err(format!("not sent within {:?}", email.timeout)),
    }
}

fn compose(email: &Email, subject: &str, body: &str) -> Result<Message, String> {
    let mailbox = |text: &str| -> Result<Mailbox, String> {
        let address: Address = text.parse().map_err(|error| format!("{text}: {error}"))?;
        Ok(Mailbox::new(None, address))
    };
    let mut message = Message::builder()
        .from(mailbox(&email.from)?)
        .subject(subject)
        .date_now()
        .header(ContentType::TEXT_PLAIN);
    for to in &email.to {
        message = message.to(mailbox(to)?);
    }
    message.body(body.to_owned()).map_err(|error| error.to_string())
}

fn parameters(email: &Email) -> Result<TlsParameters, String> {
    let mut parameters = TlsParameters::builder(email.host.clone());
    if let Some(path) = &email.ca_file {
        parameters =
            parameters.certificate_store(CertificateStore::None).add_root_certificate(certificate(path)?);
    }
    parameters.build_rustls().map_err(|error| chain(&error))
}

fn certificate(path: &Path) -> Result<Certificate, String> {
    let unusable = |error: &dyn std::fmt::Display| format!("{} cannot be used: {error}", path.display());
    let pem = std::fs::read(path).map_err(|error| unusable(&error))?;
    Certificate::from_pem(&pem).map_err(|error| unusable(&error))
}

/// Each level of lettre's errors says only its own part.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::runner::tls::tests::localhost;
    use std::time::Duration;
    use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    /// Speaks just enough SMTP; everything that it was told. `refuses`: the command that it does not like.
    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(socket: S, refuses: &str) -> String {
        let (reader, mut writer) = tokio::io::split(socket);
        let mut lines = BufReader::new(reader).lines();
        let (mut heard, mut in_data) = (String::new(), false);
        writer.write_all(b"220 test\r\n").await.unwrap();
        while let Ok(Some(line)) = lines.next_line().await {
            heard.push_str(&line);
            heard.push('\n');
            let answer = match line.split([' ', ':']).next().unwrap() {
                _ if in_data && line != "." => continue,
                "." => "250 taken",
                word if word == refuses => "451 not now",
                "EHLO" => "250-test\r\n250 AUTH PLAIN",
                "AUTH" => "235 welcome",
                "DATA" => "354 go on",
                "QUIT" => "221 bye",
                _ => "250 ok",
            };
            in_data = answer.starts_with("354");
            writer.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
            if answer.starts_with("221") {
                break;
            }
        }
        heard
    }

    fn email(port: u16) -> Email {
        Email {
            host: "localhost".into(),
            port,
            tls: MailTls::None,
            to: vec!["ops@example.org".into(), "boss@example.org".into()],
            from: "vipgate@example.org".into(),
            helo_name: None,
            timeout: Duration::from_secs(20),
            credentials: None,
            ca_file: None,
        }
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
    }

    #[test]
    fn a_mail_reaches_everybody_or_the_reason_is_told() {
        run(async {
            for (refuses, expect) in [("", None), ("RCPT", Some("not now")), ("MAIL", Some("not now"))] {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let email = email(listener.local_addr().unwrap().port());
                let server = async { serve(listener.accept().await.unwrap().0, refuses).await };
                let (sent, heard) = tokio::join!(
                    async { send(&email, "one", "the subject", "line 1\n.line 2\n").await },
                    server
                );
                match expect {
                    Some(part) => {
                        let why = sent.unwrap_err();
                        assert!(why.contains(part), "{why}");
                    }
                    None => {
                        sent.unwrap();
                        for line in [
                            "EHLO one",
                            "MAIL FROM:<vipgate@example.org>",
                            "RCPT TO:<ops@example.org>",
                            "RCPT TO:<boss@example.org>",
                            "Subject: the subject",
                            "To: ops@example.org, boss@example.org",
                            "line 1",
                            "..line 2",
                        ] {
                            assert!(heard.lines().any(|heard| heard == line), "{line:?} is not in {heard}");
                        }
                    }
                }
            }
        });
    }

    #[test]
    fn a_password_goes_over_tls_to_whom_the_authorities_vouch_for() {
        let (acceptor, authority) = localhost();
        let folder = std::env::temp_dir().join(format!("vipgate-mail-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let ca_file = folder.join("ca.pem");
        std::fs::write(&ca_file, authority).unwrap();
        run(async {
            for (ca_file, is_trusted) in [(Some(ca_file.clone()), true), (None, false)] {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let email = Email {
                    tls: MailTls::Tls,
                    credentials: Some(("me".into(), crate::config::Secret("s3cret".into()))),
                    ca_file,
                    ..email(listener.local_addr().unwrap().port())
                };
                let server = tokio::spawn({
                    let acceptor = acceptor.clone();
                    async move {
                        let socket = acceptor.accept(listener.accept().await.unwrap().0).await.ok()?;
                        Some(serve(socket, "").await)
                    }
                });
                let sent = send(&email, "one", "s", "b").await;
                assert_eq!(sent.is_ok(), is_trusted, "{sent:?}");
                if is_trusted {
                    assert!(server.await.unwrap().unwrap().contains("AUTH PLAIN"));
                }
            }
        });
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
