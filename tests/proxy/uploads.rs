//! Bodies that are still on their way when something happens at the other end.

use std::io::Write;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::peers::*;
use crate::support::*;
use crate::upstream_side::front;

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn what_comes_behind_a_body_is_read_after_a_failure() {
    let origin = Origin::start(|mut connection| {
        while let Some(request) = connection.request() {
            if request.starts_with("POST") {
                return;
            }
            connection.stream.write_all(&ok("next")).unwrap();
        }
    });
    let (_proxy, address) = front(origin.address, |u| u.keepalive = 0);
    for body in
        ["Content-Length: 5\r\n\r\n|hello", "Transfer-Encoding: chunked\r\n\r\n|5\r\nhello\r\n0\r\n\r\n"]
    {
        let (fields, body) = body.split_once('|').unwrap();
        let before = origin.connections();
        let mut client = Client::connect(address);
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}"));
        wait_for("a connection to the upstream", || origin.connections() > before);
        // In one segment: the end of the body, a request, and a part of another.
        client.send(format!("{body}GET /next HTTP/1.1\r\nHost: a\r\n\r\nGET /af"));
        assert_eq!(client.response("POST").unwrap().status, 502);
        assert_eq!(client.response("GET").unwrap().text(), "next");
        client.send("ter HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response("GET").unwrap().text(), "next");
    }
    assert!(origin.requests().iter().any(|r| r.starts_with("GET /after HTTP/1.1\r\n")));
}

#[test]
fn a_stale_connection_is_replaced_before_a_body_has_come() {
    let origin = Origin::start(|mut connection| {
        if connection.number == 0 {
            connection.request();
            connection.stream.write_all(&ok("first")).unwrap();
            read_head(&mut connection.stream, &mut connection.rest).unwrap();
            return;
        }
        while connection.request().is_some() {
            connection.stream.write_all(&ok("second")).unwrap();
        }
    });
    let (_proxy, address) = front(origin.address, |u| u.retries = 0);
    let mut client = Client::connect(address);
    assert_eq!(client.get("/").text(), "first");
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.response("PUT").unwrap().status, 100);
    wait_for("a second connection", || origin.connections() == 2);
    client.send("hello");
    let response = client.response("PUT").unwrap();
    assert_eq!((response.status, response.text()), (200, "second"), "told to go on once");
    assert_eq!(response.field("Connection"), None);
    assert!(origin.requests().last().unwrap().ends_with("\r\n\r\nhello"));
}

#[test]
fn an_upstream_has_its_time_from_the_end_of_the_body_on() {
    const READ: Duration = Duration::from_secs(3);
    let (answer, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::start(move |mut connection| {
        connection.request();
        wait.lock().unwrap().recv().unwrap();
        connection.stream.write_all(&ok("late")).unwrap();
    });
    let (_proxy, address) = front(origin.address, |u| u.read_timeout = READ);
    let mut client = Client::connect(address);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel");
    wait_for("a connection to the upstream", || origin.connections() > 0);
    std::thread::sleep(READ.mul_f32(0.8));
    client.send("lo");
    wait_for("the whole request", || !origin.requests().is_empty());
    // Over the time since the head, and well within the time since the body.
    std::thread::sleep(READ.mul_f32(0.4));
    answer.send(()).unwrap();
    let response = client.response("POST").unwrap();
    assert_eq!((response.status, response.text()), (200, "late"));
}
