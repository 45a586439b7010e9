//! What the C library's resolver says of a name, and what it means where it says nothing.

use std::ffi::{CStr, CString};
use std::io;
use std::net::IpAddr;
use std::ptr;

use nix::libc;
use nix::sys::socket::{SockaddrLike, SockaddrStorage};

/// Of netdb.h, on Linux.
const EAI_NONAME: i32 = -2;
const EAI_NODATA: i32 = -5;
const EAI_SYSTEM: i32 = -11;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAddress {
    /// Name servers, or the hosts file, say so: nobody is there under this name.
    #[error("there is no such name")]
    NoSuchName,
    /// Name servers do not answer, or cannot: that says nothing about the name.
    #[error("{0}")]
    NoAnswer(String),
}

/// Each once, in the order of preference. Blocks for as long as name servers are waited for.
pub fn addresses(name: &str) -> Result<Vec<IpAddr>, NoAddress> {
    let Ok(name) = CString::new(name) else { return Err(NoAddress::NoSuchName) };
    let hints = libc::addrinfo {
        ai_flags: 0,
        ai_family: libc::AF_UNSPEC,
        // Of any other kind each address comes several times.
        ai_socktype: libc::SOCK_STREAM,
        ai_protocol: 0,
        ai_addrlen: 0,
        ai_addr: ptr::null_mut(),
        ai_canonname: ptr::null_mut(),
        ai_next: ptr::null_mut(),
    };
    let mut list = ptr::null_mut();
    // SAFETY: the name ends with a zero, and all three live until the call has returned.
    let code = unsafe { libc::getaddrinfo(name.as_ptr(), ptr::null(), &raw const hints, &raw mut list) };
    if code != 0 {
        return Err(failure(code, &io::Error::last_os_error()));
    }
    let mut found = vec![];
    let mut next = list;
    // SAFETY: the list is whole until it is freed, and ends with a null pointer.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: the pointer and the length are those of one address.
        let address = unsafe { SockaddrStorage::from_raw(entry.ai_addr, Some(entry.ai_addrlen)) };
        found.extend(address.as_ref().and_then(ip));
        next = entry.ai_next;
    }
    // SAFETY: it came from getaddrinfo, and nothing of it is kept.
    unsafe { libc::freeaddrinfo(list) };
    Ok(found)
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

fn failure(code: i32, errno: &io::Error) -> NoAddress {
    match code {
        EAI_NONAME | EAI_NODATA => NoAddress::NoSuchName,
        EAI_SYSTEM => NoAddress::NoAnswer(errno.to_string()),
        _ => {
            // SAFETY: a text of the C library's own, whatever the code.
            let text = unsafe { CStr::from_ptr(libc::gai_strerror(code)) };
            NoAddress::NoAnswer(text.to_string_lossy().into_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const EAI_AGAIN: i32 = -3;
    const EAI_FAIL: i32 = -4;

    #[test]
    fn each_address_is_found_once() {
        assert_eq!(addresses("127.0.0.7"), Ok(vec![Ipv4Addr::new(127, 0, 0, 7).into()]));
        assert_eq!(addresses("2001:db8::7"), Ok(vec!["2001:db8::7".parse().unwrap()]));
        assert!(addresses("localhost").unwrap().iter().all(IpAddr::is_loopback));
        assert_eq!(addresses("a\0b"), Err(NoAddress::NoSuchName));
    }

    #[test]
    fn who_does_not_answer_does_not_say_that_there_is_no_such_name() {
        let errno = io::Error::from_raw_os_error(libc::ENETDOWN);
        for code in [EAI_NONAME, EAI_NODATA] {
            assert_eq!(failure(code, &errno), NoAddress::NoSuchName, "{code}");
        }
        for code in [EAI_AGAIN, EAI_FAIL, EAI_SYSTEM] {
            assert!(matches!(failure(code, &errno), NoAddress::NoAnswer(text) if !text.is_empty()), "{code}");
        }
    }
}
