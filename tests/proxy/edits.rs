//! Files that somebody writes to while they are asked for: what arrives as whole is one state of the file.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::peers::*;
use crate::support::*;

/// Far more than all socket buffers and the proxy's own, so that it is still reading when the file is edited.
const LARGE: usize = 32 << 20;

fn site(name: &str, content: &[u8]) -> (Proxy, std::net::SocketAddr, Folder, PathBuf) {
    let folder = Folder::new(name, &[]);
    let path = folder.put("file", content);
    let mut proxy = Proxy::start(1);
    let address = proxy.address("127.0.0.1");
    proxy.serve(&config(vec![server(address, vec![("/", folder.action())])], vec![]));
    (proxy, address, folder, path)
}

/// A client that has asked for the file and been sent the first bytes, of which it has taken none.
fn asked(address: std::net::SocketAddr, line: &str) -> Client {
    let mut client = Client::connect(address);
    client.send(format!("GET /file HTTP/1.1\r\nHost: a\r\n{line}\r\n"));
    client.stream.peek(&mut [0]).unwrap();
    client
}

#[test]
fn a_file_that_is_edited_while_it_is_sent_does_not_pass_for_a_whole_one() {
    type Edit = fn(&Path);
    let edits: [(&str, Edit); 5] = [
        ("cut", |path| File::options().write(true).open(path).unwrap().set_len(1 << 20).unwrap()),
        ("cut and written anew", |path| fs::write(path, vec![b'y'; LARGE]).unwrap()),
        ("longer", |path| File::options().append(true).open(path).unwrap().write_all(b"more").unwrap()),
        ("a byte in its first half", |path| {
            File::options().write(true).open(path).unwrap().write_all_at(b"y", 9).unwrap();
        }),
        ("its last byte", |path| {
            File::options().write(true).open(path).unwrap().write_all_at(b"y", LARGE as u64 - 1).unwrap();
        }),
    ];
    let (mut proxy, address, folder, path) = site("edits", b"");
    for (what, edit) in edits {
        for line in ["", "Range: bytes=0-0,1-33000000\r\n"] {
            folder.put("file", vec![b'x'; LARGE]);
            let before = proxy.counted("files_changed");
            let mut client = asked(address, line);
            edit(&path);
            let error = client.response("GET").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{what} {line}");
            assert_eq!(proxy.counted("files_changed"), before + 1, "{what} {line}");
        }
    }
}

#[test]
fn a_file_that_is_replaced_while_it_is_sent_arrives_as_it_was() {
    let (mut proxy, address, folder, path) = site("replaced", &vec![b'x'; LARGE]);
    let mut client = asked(address, "");
    let next = folder.put("next", "y");
    fs::rename(next, &path).unwrap();
    let old = client.response("GET").unwrap();
    assert!(old.body == vec![b'x'; LARGE]);
    // The connection goes on, and the next answer is the new file.
    assert_eq!(client.send("GET /file HTTP/1.1\r\nHost: a\r\n\r\n").response("GET").unwrap().text(), "y");
    fs::remove_file(&path).unwrap();
    assert_eq!(client.get("/file").status, 404);
    assert_eq!(proxy.counted("files_changed"), 0);
}

/// Every state of the file has one letter. The next one is written over it every few milliseconds for as long as the
/// answer is not there: in one thread, so that none stops for long in the middle of a write.
#[test]
fn a_small_file_under_a_writer_is_of_one_state_or_to_be_asked_for_again() {
    let (_proxy, address, _folder, path) = site("writer", &[b'a'; 8000]);
    let file = File::options().write(true).open(&path).unwrap();
    let mut client = Client::connect(address);
    let mut letters = (b'a'..=b'z').cycle();
    for _ in 0..5 {
        file.write_all_at(&[letters.next().unwrap(); 8000], 0).unwrap();
        client.send("GET /file HTTP/1.1\r\nHost: a\r\n\r\n");
        client.stream.set_read_timeout(Some(Duration::from_millis(3))).unwrap();
        while client.stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
            file.write_all_at(&[letters.next().unwrap(); 8000], 0).unwrap();
        }
        client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let response = client.response("GET").unwrap();
        if response.status == 503 {
            assert_eq!(response.field("Retry-After"), Some("1"));
        } else {
            let first = response.body[0];
            assert!(response.body == [first; 8000], "{}", response.text());
        }
    }
    let last = letters.next().unwrap();
    file.write_all_at(&[last; 8000], 0).unwrap();
    assert!(client.get("/file").body == [last; 8000]);
}

#[test]
fn a_file_that_was_just_written_has_no_strong_validator() {
    let (_proxy, address, folder, path) = site("fresh", b"");
    let mut client = Client::connect(address);
    // Ahead for as long as this test may take, so that no pause makes the file old.
    let ahead = std::time::SystemTime::now() + PATIENCE;
    File::options().write(true).open(&path).unwrap().set_modified(ahead).unwrap();
    let fresh = client.get("/file");
    let tag = fresh.field("ETag").unwrap().to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    assert_eq!(fresh.field("Last-Modified"), None);
    folder.put("file", "");
    let settled = client.get("/file");
    assert!(settled.field("ETag").unwrap().starts_with('"'), "{}", settled.head);
    assert!(settled.field("Last-Modified").is_some());
    let again = format!("GET /file HTTP/1.1\r\nHost: a\r\nIf-None-Match: {tag}\r\n\r\n");
    assert_eq!(client.send(again).response("GET").unwrap().status, 200);
}
