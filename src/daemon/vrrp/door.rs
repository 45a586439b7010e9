//! Asks the proxy for an answer through this node's own front door, as a client would, but at the node's own address: at
//! a virtual one, a peer might answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::time::timeout;

use super::check::ask;
use crate::net::{Family, is_link_local};

/// From the first SYN to the end of the status line.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where to knock: the first listener that is not a virtual address. `None`: there is none to ask.
pub(super) fn address(
    listen: &[SocketAddr],
    own: &[IpAddr],
    virtual_addresses: &[IpAddr],
) -> Option<SocketAddr> {
    let listener = listen.iter().find(|address| !virtual_addresses.contains(&address.ip().to_canonical()))?;
    if !listener.ip().is_unspecified() {
        return Some(*listener);
    }
    // A listener on [::] has no IPv4, and a link-local address would need its interface.
    let family = Family::of(listener.ip());
    let loopback = match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Family::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    let mut own = own.iter().copied().filter(|own| Family::of(*own) == family && !is_link_local(*own));
    Some(SocketAddr::new(own.next().unwrap_or(loopback), listener.port()))
}

/// Any HTTP/1 status will do: it takes a living proxy to say it.
pub(super) async fn knock(address: SocketAddr) -> Result<(), String> {
    match timeout(PATIENCE, ask(address, &request(address))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("{address}: {error}")),
        Err(_) => Err(format!("{address}: no answer within {PATIENCE:?}")),
    }
}

/// Who asks is said for the sake of whoever reads the access log.
fn request(address: SocketAddr) -> String {
    format!("HEAD / HTTP/1.1\r\nHost: {address}\r\nUser-Agent: vipgate-check\r\nConnection: close\r\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn the_door_is_never_a_virtual_address() {
        let virtual_addresses: [IpAddr; 2] = ["10.0.0.99", "2001:db8::99"].map(|a| a.parse().unwrap());
        let check = |listen: &[&str], own: &[&str], expect: Option<&str>| {
            let parse = |own: &&str| own.parse().unwrap();
            let (listen, own) =
                (listen.iter().map(|a| a.parse().unwrap()).collect::<Vec<_>>(), own.iter().map(parse));
            let got = address(&listen, &own.collect::<Vec<IpAddr>>(), &virtual_addresses);
            assert_eq!(got, expect.map(|e| e.parse().unwrap()), "{listen:?}");
        };
        let own = ["10.0.0.2"];
        check(&["0.0.0.0:80"], &own, Some("10.0.0.2:80"));
        check(&["[::]:80"], &own, Some("[::1]:80"));
        check(&["[::]:80"], &["10.0.0.2", "fe80::2", "2001:db8::2"], Some("[2001:db8::2]:80"));
        check(&["0.0.0.0:80"], &["fe80::2"], Some("127.0.0.1:80"));
        check(&["0.0.0.0:80"], &[], Some("127.0.0.1:80"));
        check(&["127.0.0.1:81"], &own, Some("127.0.0.1:81"));
        check(&["10.0.0.99:80", "10.0.0.2:81"], &own, Some("10.0.0.2:81"));
        check(&["10.0.0.99:80", "[::ffff:10.0.0.99]:80", "[2001:db8::99]:80"], &own, None);
        check(&[], &own, None);
    }

    #[test]
    fn only_a_proxy_that_speaks_opens_the_door() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for (answer, expect) in [
                (&b"HTTP/1.1 404 Not Found\r\n\r\n"[..], "Ok(())"),
                (b"220 smtp.example.org ESMTP\r\n", "does not speak HTTP/1"),
                (b"HTTP/1.1", "early eof"),
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
                let (result, request) = tokio::join!(knock(address), server);
                assert!(format!("{result:?}").contains(expect), "{result:?}");
                assert_eq!(request, super::request(address));
                drop(listener);
                assert!(knock(address).await.unwrap_err().contains("refused"));
            }
        });
    }
}
