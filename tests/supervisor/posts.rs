//! Webhooks of a node, against servers that do not always want them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;
use vipgate::link::control::HappeningKind;

use crate::cases::{BOTH, privileged};
use crate::hooks::{count, moves, runner};
use crate::node::{Node, free_port, with_hooks};
use crate::runner::Outcome;

const PATIENCE: Duration = Duration::from_secs(30);

/// Answers each request with the next of these statuses, the last one for ever; what it was sent, one by one.
fn server(statuses: &'static [u16]) -> (u16, Receiver<(u16, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sent, received) = channel();
    std::thread::spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            let mut client = client.unwrap();
            let mut heard = vec![];
            while !heard.ends_with(b"}") {
                let mut piece = [0; 4096];
                match client.read(&mut piece).unwrap() {
                    0 => break,
                    n => heard.extend_from_slice(&piece[..n]),
                }
            }
            let status = *statuses.get(number).or(statuses.last()).unwrap();
            let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            client.write_all(answer.as_bytes()).unwrap();
            if sent.send((status, String::from_utf8(heard).unwrap())).is_err() {
                return;
            }
        }
    });
    (port, received)
}

pub(crate) fn tried_again() -> Outcome {
    privileged()?;
    let node = Node::serving(BOTH);
    let (port, received) = server(&[503, 500, 200]);
    let nobody = free_port();
    let webhooks = format!(
        "webhooks:\n  - url: http://127.0.0.1:{port}/hook?key=s3cret\n    headers: {{Authorization: Bearer t0ken}}\n  \
         - url: http://localhost:{nobody}/s3cret\n    tries: 2\n"
    );
    node.write_config(&format!("{}{webhooks}", node.document("second")));
    runner(&node);
    moves(&node, "web BACKUP\nweb MASTER\n");
    let mut states = vec![];
    for _ in 0..4 {
        let (status, heard) = received.recv_timeout(PATIENCE).unwrap();
        let (head, body) = heard.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /hook?key=s3cret HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("Bearer t0ken"), "{head}");
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!((&body["node"], &body["instance"]), (&"second".into(), &"web".into()), "{body}");
        assert_eq!((&body["reason"], &body["priority"]), (&"told to".into(), &150.into()), "{body}");
        states.push((status, body["state"].as_str().unwrap().to_owned()));
    }
    let expect = [(503, "BACKUP"), (500, "BACKUP"), (200, "BACKUP"), (200, "MASTER")];
    assert_eq!(states, expect.map(|(status, state)| (status, state.to_owned())));
    node.until_status("the counts", |status| {
        let failed = count(status.clone(), "webhook_tries_failed");
        let given_up = count(status.clone(), "webhooks_given_up");
        (count(status, "webhooks_delivered") == 2 && failed == 6 && given_up == 2).then_some(())
    });
    let history = node.until_status("a history", |status| Some(status.history));
    let failures: Vec<_> =
        history.iter().filter(|h| h.kind == HappeningKind::Notification).map(|h| h.what.as_str()).collect();
    assert_eq!(failures.len(), 2, "{failures:?}");
    for failure in failures {
        assert!(
            failure.starts_with("webhook 2 (localhost) failed after 2 tries: no connection"),
            "{failure}"
        );
    }
    assert!(!node.log().contains("s3cret") && !node.log().contains("t0ken"), "{}", node.log());
    Ok(())
}

/// A mail server that takes everything: the subjects of what it was sent.
fn mail_server() -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sent, received) = channel();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            client.write_all(b"220 test\r\n").unwrap();
            let lines = BufReader::new(client.try_clone().unwrap()).lines();
            let mut in_data = false;
            for line in lines.map_while(Result::ok) {
                if let Some(subject) = line.strip_prefix("Subject: ").filter(|_| in_data)
                    && sent.send(subject.to_owned()).is_err()
                {
                    return;
                }
                let answer = match line.as_str() {
                    "DATA" => "354 go on\r\n",
                    "QUIT" => "221 bye\r\n",
                    _ if in_data && line != "." => "",
                    _ => "250 ok\r\n",
                };
                in_data = answer.starts_with("354") || answer.is_empty();
                if client.write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    (port, received)
}

pub(crate) fn mailed() -> Outcome {
    privileged()?;
    let node = Node::serving(BOTH);
    let (port, received) = mail_server();
    let email = format!(
        "email:\n  smtp_server: 127.0.0.1:{port}\n  notification_email: [ops@example.org]\n  \
         notification_email_from: one@example.org\n"
    );
    node.write_config(&format!("{}{email}", with_hooks(&node.document("second"), &["smtp_alert: true"])));
    runner(&node);
    moves(&node, "web BACKUP\nweb MASTER\n");
    for state in ["BACKUP", "MASTER"] {
        let subject = received.recv_timeout(PATIENCE).unwrap();
        assert_eq!(subject, format!("[second] VRRP Instance web - Entering {state} state"));
    }
    node.until_status("the count", |status| (count(status, "mails_sent") == 2).then_some(()));
    Ok(())
}
