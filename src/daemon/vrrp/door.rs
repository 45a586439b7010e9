//! Asks the proxy for an answer through this node's own front door, as a client would, but at the node's own address: at
//! a virtual one, a peer might answer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::time::timeout;

use super::check::ask;

/// From the first SYN to the end of the status line.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where to knock: the first listener that is not a virtual address. `None`: there is none to ask.
pub(super) fn address(
    listen: &[SocketAddr],
    own: Option<Ipv4Addr>,
    virtual_addresses: &[Ipv4Addr],
) -> Option<SocketAddr> {
    let is_virtual =
        |ip: IpAddr| matches!(ip.to_canonical(), IpAddr::V4(ip) if virtual_addresses.contains(&ip));
    let listener = listen.iter().find(|address| !is_virtual(address.ip()))?;
    if !listener.ip().is_unspecified() {
        return Some(*listener);
    }
    Some(SocketAddr::new(own.unwrap_or(Ipv4Addr::LOCALHOST).into(), listener.port()))
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
        let vip: Ipv4Addr = [10, 0, 0, 99].into();
        let own = Some([10, 0, 0, 2].into());
        let check = |listen: &[&str], own: Option<Ipv4Addr>, expect: Option<&str>| {
            let listen: Vec<SocketAddr> = listen.iter().map(|a| a.parse().unwrap()).collect();
            assert_eq!(address(&listen, own, &[vip]), expect.map(|e| e.parse().unwrap()), "{listen:?}");
        };
        check(&["0.0.0.0:80"], own, Some("10.0.0.2:80"));
        check(&["[::]:80"], own, Some("10.0.0.2:80"));
        check(&["0.0.0.0:80"], None, Some("127.0.0.1:80"));
        check(&["127.0.0.1:81"], own, Some("127.0.0.1:81"));
        check(&["10.0.0.99:80", "10.0.0.2:81"], own, Some("10.0.0.2:81"));
        check(&["10.0.0.99:80", "[::ffff:10.0.0.99]:80"], own, None);
        check(&[], own, None);
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
