//! A server's own error pages: which text goes with which status.

use std::sync::Arc;

/// Of one server. The texts may be shared with other servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorPages(Vec<(u16, Arc<[u8]>)>);

impl ErrorPages {
    pub fn insert(&mut self, status: u16, html: Arc<[u8]>) {
        match self.0.binary_search_by_key(&status, |(s, _)| *s) {
            // The first one written counts; the configuration refuses a second.
            Ok(_) => (),
            Err(place) => self.0.insert(place, (status, html)),
        }
    }

    pub fn page(&self, status: u16) -> Option<&[u8]> {
        let place = self.0.binary_search_by_key(&status, |(s, _)| *s).ok()?;
        self.0.get(place).map(|(_, html)| &**html)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_its_page_or_none() {
        let mut pages = ErrorPages::default();
        for (status, html) in [(504, "a"), (502, "a"), (404, "b"), (404, "shadowed")] {
            pages.insert(status, html.as_bytes().into());
        }
        for (status, expect) in [(502, Some("a")), (504, Some("a")), (404, Some("b")), (500, None)] {
            assert_eq!(pages.page(status), expect.map(str::as_bytes), "{status}");
        }
    }
}
