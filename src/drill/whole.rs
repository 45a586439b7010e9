//! Whether a pair is whole, so that a drill may begin: everybody answers, one is master, and somebody can take over.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::peer::{Router, State};

/// A node as it was found when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    pub address: IpAddr,
    /// Its own word, or why there is none.
    pub found: Result<State, String>,
}

/// Who may be asked for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub holder: IpAddr,
    /// Its name, and those of the others.
    pub name: String,
    pub others: Vec<(IpAddr, String)>,
    /// What makes the figures say less, or is wrong with the pair beside them.
    pub warnings: Vec<String>,
}

/// Or all that is in the way.
pub fn whole(router: &str, vrid: u8, sights: &[Sight]) -> Result<Pair, Vec<String>> {
    let mut problems = vec![];
    if sights.len() < 2 {
        problems.push(format!(
            "the configuration names {} of the nodes of {router}, and a drill needs two: name them in --nodes",
            sights.len()
        ));
    }
    let mut masters = vec![];
    let mut others = vec![];
    for sight in sights {
        match standing(router, vrid, sight) {
            Ok((state, of)) if of.state == "master" => masters.push((sight.address, state)),
            Ok((state, of)) => {
                others.push((sight.address, state.node.clone()));
                if of.state != "backup" {
                    let why = of.ineligible.as_deref().unwrap_or(&of.state);
                    problems.push(format!("{} cannot take over {router}: {why}", called(sight, state)));
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
    let (holder, state) = match masters.as_slice() {
        [one] => one,
        // Whoever did not answer may be it.
        [] if !problems.is_empty() => return Err(problems),
        [] => {
            problems.push(format!("no node is master of {router}"));
            return Err(problems);
        }
        several => {
            let names: Vec<String> = several.iter().map(|(at, s)| format!("{} ({at})", s.node)).collect();
            problems.push(format!("several nodes are master of {router}: {}", names.join(", ")));
            return Err(problems);
        }
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    let warnings = warnings(sights);
    Ok(Pair { holder: *holder, name: state.node.clone(), others, warnings })
}

/// The one node that is master of it, by its own word.
pub fn master_of(vrid: u8, sights: &[Sight]) -> Option<IpAddr> {
    let is_master = |sight: &&Sight| {
        let state = sight.found.as_ref().ok();
        state.and_then(|state| of(vrid, sight.address, state)).is_some_and(|router| router.state == "master")
    };
    let mut masters = sights.iter().filter(is_master);
    let first = masters.next()?;
    masters.next().is_none().then_some(first.address)
}

fn standing<'s>(router: &str, vrid: u8, sight: &'s Sight) -> Result<(&'s State, &'s Router), String> {
    let state = sight.found.as_ref().map_err(|why| format!("{}: {why}", sight.address))?;
    let of = of(vrid, sight.address, state);
    let of = of.ok_or_else(|| format!("{} does not play {router} (vrid {vrid})", called(sight, state)))?;
    Ok((state, of))
}

/// The other family, to whose addresses nobody asked, has the same numbers.
fn of(vrid: u8, at: IpAddr, state: &State) -> Option<&Router> {
    state.routers.iter().find(|router| router.vrid == vrid && router.ipv6 == at.is_ipv6())
}

fn called(sight: &Sight, state: &State) -> String {
    format!("{} ({})", state.node, sight.address)
}

fn warnings(sights: &[Sight]) -> Vec<String> {
    let states: Vec<&State> = sights.iter().filter_map(|sight| sight.found.as_ref().ok()).collect();
    let distinct = |what: fn(&State) -> &str| states.iter().map(|s| what(s)).collect::<BTreeSet<_>>().len();
    let mut warnings = vec![];
    if distinct(|state| &state.digest) > 1 {
        warnings
            .push("the nodes work by different configurations: show all of them the same file".to_owned());
    }
    if distinct(|state| &state.version) > 1 {
        warnings.push("the nodes are of different versions".to_owned());
    }
    if distinct(|state| &state.node) < states.len() {
        warnings.push("two nodes have the same name: who has answered cannot be told".to_owned());
    }
    warnings
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::drill) fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    /// `2 master`, `3 fault the proxy is down`, `3 !nobody listens there`, `3 other`: plays another one only.
    pub(in crate::drill) fn sight(text: &str) -> Sight {
        let (last, what) = text.split_once(' ').unwrap();
        let last: u8 = last.parse().unwrap();
        let found = match what.strip_prefix('!') {
            Some(why) => Err(why.to_owned()),
            None => {
                let (state, why) = what.split_once(' ').map_or((what, None), |(s, why)| (s, Some(why)));
                let vrid = if state == "other" { 7 } else { 51 };
                let ineligible = why.map(str::to_owned);
                let router =
                    Router { vrid, state: state.to_owned(), priority: 100, ineligible, ..Router::default() };
                Ok(State { node: format!("n{last}"), routers: vec![router], ..State::default() })
            }
        };
        Sight { address: address(last), found }
    }

    #[test]
    fn what_is_in_the_way_is_said() {
        /// Nodes; who holds it and the others, or the problems.
        type Row<'a> = (&'a [&'a str], Result<(u8, &'a [u8]), &'a [&'a str]>);
        let table: [Row<'_>; 12] = [
            (&["2 master", "3 backup"], Ok((2, &[3]))),
            (&["2 backup", "3 master", "4 backup"], Ok((3, &[2, 4]))),
            (
                &["2 master"],
                Err(&[
                    "the configuration names 1 of the nodes of web, and a drill needs two: name them in --nodes",
                ]),
            ),
            (&["2 master", "3 !nobody listens there"], Err(&["10.0.0.3: nobody listens there"])),
            (&["2 !nobody listens there", "3 backup"], Err(&["10.0.0.2: nobody listens there"])),
            (&["2 backup", "3 backup"], Err(&["no node is master of web"])),
            (
                &["2 master", "3 master"],
                Err(&["several nodes are master of web: n2 (10.0.0.2), n3 (10.0.0.3)"]),
            ),
            (
                &["2 master", "3 fault drained: takes no address until `vipgate drain --undo`"],
                Err(&[
                    "n3 (10.0.0.3) cannot take over web: drained: takes no address until `vipgate drain --undo`",
                ]),
            ),
            (&["2 master", "3 fault"], Err(&["n3 (10.0.0.3) cannot take over web: fault"])),
            (&["2 master", "3 other"], Err(&["n3 (10.0.0.3) does not play web (vrid 51)"])),
            (
                &["2 fault the proxy is down", "3 !it takes no orders"],
                Err(&[
                    "n2 (10.0.0.2) cannot take over web: the proxy is down",
                    "10.0.0.3: it takes no orders",
                ]),
            ),
            (
                &[],
                Err(&[
                    "the configuration names 0 of the nodes of web, and a drill needs two: name them in --nodes",
                ]),
            ),
        ];
        for (texts, expect) in table {
            let sights: Vec<Sight> = texts.iter().map(|text| sight(text)).collect();
            let got = whole("web", 51, &sights);
            match expect {
                Ok((holder, others)) => {
                    let pair = got.unwrap();
                    assert_eq!(
                        (pair.holder, pair.name),
                        (address(holder), format!("n{holder}")),
                        "{texts:?}"
                    );
                    let expect: Vec<_> = others.iter().map(|n| (address(*n), format!("n{n}"))).collect();
                    assert_eq!((pair.others, pair.warnings), (expect, vec![]), "{texts:?}");
                    assert_eq!(master_of(51, &sights), Some(address(holder)));
                }
                Err(problems) => assert_eq!(got.unwrap_err(), problems, "{texts:?}"),
            }
        }
        assert_eq!(master_of(51, &["2 master", "3 master"].map(sight)), None);
        assert_eq!(master_of(51, &["2 !frozen", "3 master"].map(sight)), Some(address(3)));
    }

    #[test]
    fn what_is_not_as_it_should_be_is_a_warning() {
        let check = |change: &dyn Fn(&mut State), expect: &[&str]| {
            let mut sights = ["2 master", "3 backup"].map(sight);
            change(sights[1].found.as_mut().unwrap());
            let pair = whole("web", 51, &sights).unwrap();
            assert_eq!(pair.warnings.len(), expect.len(), "{:?}", pair.warnings);
            assert!(pair.warnings.iter().zip(expect).all(|(got, e)| got.contains(e)), "{:?}", pair.warnings);
        };
        check(&|_| (), &[]);
        check(&|state| state.digest = "ab".into(), &["different configurations"]);
        check(&|state| state.version = "9".into(), &["different versions"]);
        check(&|state| state.node = "n2".into(), &["the same name"]);
    }
}
