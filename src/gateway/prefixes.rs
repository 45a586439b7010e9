//! The longest of many prefixes, in as many comparisons as halving them takes.

/// Sorted, each with the next shorter one that it starts with.
#[derive(Debug)]
pub(super) struct Prefixes<T> {
    entries: Vec<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    prefix: Vec<u8>,
    /// The place of the longest other prefix that this one starts with.
    shorter: Option<usize>,
    value: T,
}

impl<T> Default for Prefixes<T> {
    fn default() -> Self {
        Self { entries: vec![] }
    }
}

impl<T> Prefixes<T> {
    /// Of two equal prefixes the first one counts.
    pub(super) fn new(list: Vec<(Vec<u8>, T)>) -> Self {
        let mut list = list;
        list.sort_by(|(a, _), (b, _)| a.cmp(b));
        list.dedup_by(|(later, _), (earlier, _)| later == earlier);
        let mut entries: Vec<Entry<T>> = Vec::with_capacity(list.len());
        for (prefix, value) in list {
            let mut shorter = entries.len().checked_sub(1);
            while let Some(entry) = shorter.and_then(|at| entries.get(at)) {
                if prefix.starts_with(&entry.prefix) {
                    break;
                }
                shorter = entry.shorter;
            }
            entries.push(Entry { prefix, shorter, value });
        }
        Self { entries }
    }

    pub(super) fn contains(&self, prefix: &[u8]) -> bool {
        self.entries.binary_search_by(|entry| entry.prefix.as_slice().cmp(prefix)).is_ok()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &T)> {
        self.entries.iter().map(|entry| (entry.prefix.as_slice(), &entry.value))
    }

    /// What sorts last among those that do not sort behind `text` begins with every prefix of `text` that is there.
    pub(super) fn longest(&self, text: &[u8]) -> Option<&T> {
        let behind = self.entries.partition_point(|entry| entry.prefix.as_slice() <= text);
        let mut at = behind.checked_sub(1);
        while let Some(entry) = at.and_then(|at| self.entries.get(at)) {
            if text.starts_with(&entry.prefix) {
                return Some(&entry.value);
            }
            at = entry.shorter;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(list: &[&str]) -> Prefixes<usize> {
        Prefixes::new(list.iter().enumerate().map(|(n, p)| (p.as_bytes().to_vec(), n)).collect())
    }

    #[test]
    fn the_longest_wins() {
        let tree = prefixes(&["/", "/a", "/a/b/", "/a", "/a/b/c/d", "/b"]);
        for (text, expect) in [
            ("/", Some(0)),
            ("/a", Some(1)),
            ("/a/b", Some(1)),
            ("/a/b/", Some(2)),
            ("/a/b/c", Some(2)),
            ("/a/b/c/d/e", Some(4)),
            ("/a/z", Some(1)),
            ("/bb", Some(5)),
            ("/c", Some(0)),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(tree.longest(text.as_bytes()).copied(), expect, "{text}");
        }
        assert!(tree.contains(b"/a") && !tree.contains(b"/a/"));
        assert!(prefixes(&[]).longest(b"/").is_none());
    }

    /// Against the obvious way, over every set and text of a small alphabet.
    #[test]
    fn halving_finds_what_looking_at_all_of_them_finds() {
        let words: Vec<String> = (0..4u32)
            .flat_map(|length| (0..2u32.pow(length)).map(move |n| (length, n)))
            .map(|(length, n)| (0..length).map(|i| if n >> i & 1 == 0 { 'a' } else { 'b' }).collect())
            .collect();
        for set in 0..1u32 << words.len() {
            // Every 37th set is enough of them to meet each shape.
            if set % 37 != 0 {
                continue;
            }
            let list: Vec<&str> = words
                .iter()
                .enumerate()
                .filter(|(n, _)| set >> n & 1 == 1)
                .map(|(_, w)| w.as_str())
                .collect();
            let tree = prefixes(&list);
            for text in &words {
                let plain = list
                    .iter()
                    .enumerate()
                    .filter(|(_, p)| text.starts_with(**p))
                    .max_by_key(|(_, p)| p.len())
                    .map(|(n, _)| n);
                assert_eq!(tree.longest(text.as_bytes()).copied(), plain, "{text} in {list:?}");
            }
        }
    }
}
