//! Netlink messages as bytes (include/uapi/linux/netlink.h): a builder, and a reader that never looks past its slice.
//! No socket.

const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
const NESTED: u16 = 0x8000;
const NET_BYTEORDER: u16 = 0x4000;

/// One request under construction. Numbers are in the machine's own byte order, as the kernel wants them.
#[derive(Clone, Debug)]
pub(in crate::os) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// `family_header`: what follows the netlink header (`ifaddrmsg`, `nfgenmsg` ..).
    pub(in crate::os) fn new(kind: u16, flags: u16, family_header: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(family_header);
        let mut message = Self { bytes };
        message.pad();
        message
    }

    pub(in crate::os) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(ATTRIBUTE_HEADER + value.len()).unwrap_or(u16::MAX);
        debug_assert!(
            usize::from(length) == ATTRIBUTE_HEADER + value.len(),
            "an attribute of ours fits 16 bits"
        );
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    pub(in crate::os) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    pub(in crate::os) fn nested(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self = fill(self.attribute(kind | NESTED, &[]));
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        if let Some(field) = self.bytes.get_mut(start..start + 2) {
            field.copy_from_slice(&length.to_ne_bytes());
        }
        self
    }

    /// The finished message; flags are added to those given at the start.
    pub(in crate::os) fn finish(mut self, flags: u16, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let flags = flags | u16_at(&self.bytes, 6).unwrap_or(0);
        let fields: [(usize, &[u8]); 3] =
            [(0, &length.to_ne_bytes()), (6, &flags.to_ne_bytes()), (8, &sequence.to_ne_bytes())];
        for (at, value) in fields {
            if let Some(field) = self.bytes.get_mut(at..at + value.len()) {
                field.copy_from_slice(value);
            }
        }
        self.bytes
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// One message of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::os) struct Received<'a> {
    pub(in crate::os) kind: u16,
    pub(in crate::os) flags: u16,
    pub(in crate::os) sequence: u32,
    pub(in crate::os) payload: &'a [u8],
}

impl<'a> Received<'a> {
    /// The messages of one datagram; ends at the first that does not fit.
    pub(in crate::os) fn all(mut datagram: &'a [u8]) -> impl Iterator<Item = Received<'a>> {
        std::iter::from_fn(move || {
            let length = usize::try_from(u32_at(datagram, 0)?).ok()?;
            let received = Received {
                kind: u16_at(datagram, 4)?,
                flags: u16_at(datagram, 6)?,
                sequence: u32_at(datagram, 8)?,
                payload: datagram.get(HEADER..length)?,
            };
            datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
            Some(received)
        })
    }

    /// The attributes behind a family header of `skip` bytes.
    pub(in crate::os) fn attributes(&self, skip: usize) -> Attributes<'a> {
        Attributes(self.payload.get(skip.next_multiple_of(4)..).unwrap_or_default())
    }
}

/// Type and value, in order; ends at the first attribute that does not fit.
#[derive(Clone, Copy, Debug)]
pub(in crate::os) struct Attributes<'a>(pub(in crate::os) &'a [u8]);

impl<'a> Attributes<'a> {
    pub(in crate::os) fn value(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find(|(k, _)| *k == kind).map(|(_, value)| value)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & !(NESTED | NET_BYTEORDER);
        let value = self.0.get(ATTRIBUTE_HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

pub(in crate::os) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_ne_bytes)
}

pub(in crate::os) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_ne_bytes)
}

pub(in crate::os) fn be_u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_what_is_read() {
        let bytes = Message::new(20, 1, &[7, 8])
            .attribute(3, &[1, 2, 3])
            .nested(4, |m| m.text(5, "ab").attribute(6, &9u32.to_ne_bytes()))
            .finish(4, 99);
        let mut messages = Received::all(&bytes);
        let message = messages.next().unwrap();
        assert_eq!((message.kind, message.flags, message.sequence), (20, 5, 99));
        assert!(messages.next().is_none());
        let attributes = message.attributes(2);
        assert_eq!(attributes.value(3), Some(&[1u8, 2, 3][..]));
        let inner = Attributes(attributes.value(4).unwrap());
        assert_eq!(inner.value(5), Some(&b"ab\0"[..]));
        assert_eq!(inner.value(6).and_then(|v| u32_at(v, 0)), Some(9));
        assert_eq!(inner.value(7), None);
    }

    #[test]
    fn lengths_that_lie_end_the_reading() {
        let good = Message::new(1, 0, &[]).attribute(2, &[1, 2, 3, 4]).finish(0, 1);
        for cut in 0..good.len() {
            assert_eq!(Received::all(&good[..cut]).count(), 0, "cut at {cut}");
        }
        for length in [0u32, 15, 25, u32::MAX] {
            let mut lying = good.clone();
            lying[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(Received::all(&lying).count(), 0, "length {length}");
        }
        for length in [0u16, 3, 9, u16::MAX] {
            let mut lying = good.clone();
            lying[16..18].copy_from_slice(&length.to_ne_bytes());
            let message = Received::all(&lying).next().unwrap();
            assert_eq!(message.attributes(0).count(), 0, "attribute length {length}");
        }
    }
}
