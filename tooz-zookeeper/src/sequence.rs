//! Who stands where in the queue of a seat, by the names of its nodes alone. Pure.
//!
//! The names are kazoo's: `<32 hex digits>__lock__<10 digits>`, the digits given by the server. Plain kazoo
//! locks wait for everything with `__lock__` in it, so our readers carry their mark before that and both
//! languages exclude each other. Nodes of kazoo's own `ReadLock` (`__rlock__`) are readers too.

use tooz_core::{ClaimId, Mode};

const LOCK: &str = "__lock__";
const READER: &str = "_shared";

/// One node in a seat's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The node's name.
    pub(crate) name: String,
    /// The claim; `None` where another kind of client left no readable id.
    pub(crate) claim: Option<ClaimId>,
    /// Alone or together with others.
    pub(crate) mode: Mode,
    number: i64,
}

/// The beginning of a claim's node name; the server adds the digits.
pub(crate) fn prefix(claim: ClaimId, mode: Mode) -> String {
    match mode {
        Mode::Exclusive => format!("{claim}{LOCK}"),
        Mode::Shared => format!("{claim}{READER}{LOCK}"),
    }
}

impl Entry {
    /// Reads a node's name; `None` if it is no contender's.
    fn read(name: String) -> Option<Self> {
        let (head, digits) = name.rsplit_once("lock__")?;
        let below_zero = digits.strip_prefix('-');
        let is_number = below_zero.unwrap_or(digits).bytes().all(|byte| byte.is_ascii_digit());
        // The server fills up to ten characters, of which the sign is one.
        if !is_number || !matches!((digits.len(), below_zero), (10, _) | (11, Some(_))) {
            return None;
        }
        let number = digits.parse().ok()?;
        let (head, kazoo_reader) = match (head.strip_suffix("__"), head.strip_suffix("__r")) {
            (_, Some(head)) => (head, true),
            (Some(head), None) => (head, false),
            (None, None) => return None,
        };
        let reader = head.strip_suffix(READER);
        let claim = ClaimId::parse(reader.unwrap_or(head)).filter(|_| !kazoo_reader);
        let mode = if kazoo_reader || (reader.is_some() && claim.is_some()) {
            Mode::Shared
        } else {
            Mode::Exclusive
        };
        Some(Self { claim, mode, number, name })
    }
}

/// The claim of a contender's node, if it is one of ours.
pub(crate) fn claim_of(name: &str) -> Option<ClaimId> {
    Entry::read(name.to_owned())?.claim
}

/// Whether a node is an exclusive contender's.
pub(crate) fn is_exclusive(name: &str) -> bool {
    Entry::read(name.to_owned()).is_some_and(|entry| entry.mode == Mode::Exclusive)
}

/// The contenders of a seat in order, and whatever else stands among them left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contest(Vec<Entry>);

/// Where a contender stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// It holds.
    Holds,
    /// It waits behind `ahead` others, and for this one to go; `leads`: nobody is before that one.
    Behind { predecessor: &'a Entry, ahead: usize, leads: bool },
}

impl Contest {
    /// Reads the children of a seat's directory.
    pub(crate) fn of(children: Vec<String>) -> Self {
        let mut entries: Vec<Entry> = children.into_iter().filter_map(Entry::read).collect();
        // The server counts in 32 bits and goes on below zero.
        let wrapped = entries.iter().any(|entry| entry.number > i64::from(i32::MAX / 2));
        let order = |entry: &Entry| match entry.number < i64::from(i32::MIN / 2) && wrapped {
            true => entry.number + (1 << 32),
            false => entry.number,
        };
        entries.sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| a.name.cmp(&b.name)));
        Self(entries)
    }

    /// The contenders in order.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The nodes of one claim, the one that counts first; others are left by an answer that was lost.
    pub(crate) fn of_claim(&self, claim: ClaimId) -> impl Iterator<Item = &Entry> {
        self.0.iter().filter(move |entry| entry.claim == Some(claim))
    }

    /// Where the node of this name stands; `None` if it is not there.
    pub(crate) fn place(&self, name: &str) -> Option<Place<'_>> {
        let index = self.0.iter().position(|entry| entry.name == name)?;
        let (before, rest) = self.0.split_at(index);
        let own = rest.first()?;
        let predecessor = match own.mode {
            Mode::Exclusive => before.len().checked_sub(1),
            Mode::Shared => before.iter().rposition(|entry| entry.mode == Mode::Exclusive),
        };
        let predecessor = predecessor.and_then(|index| Some((index, before.get(index)?)));
        Some(match predecessor {
            None => Place::Holds,
            Some((index, predecessor)) => {
                Place::Behind { predecessor, ahead: before.len(), leads: index == 0 }
            }
        })
    }

    /// The first one that a newcomer would have to wait for; `None` if it would hold at once.
    pub(crate) fn in_the_way_of(&self, mode: Mode) -> Option<&Entry> {
        self.0.iter().find(|entry| mode == Mode::Exclusive || entry.mode == Mode::Exclusive)
    }

    /// Leaves one out that turns out not to contend.
    pub(crate) fn leave_out(&mut self, name: &str) {
        self.0.retain(|entry| entry.name != name);
    }

    /// Those who hold.
    pub(crate) fn holding(&self) -> &[Entry] {
        self.0.get(..self.holders()).unwrap_or_default()
    }

    /// How many hold: the first one, or all readers before the first who is none.
    pub(crate) fn holders(&self) -> usize {
        match self.0.first() {
            None => 0,
            Some(first) if first.mode == Mode::Exclusive => 1,
            Some(_) => self.0.iter().take_while(|entry| entry.mode == Mode::Shared).count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(claim: ClaimId, mode: Mode, number: u32) -> String {
        format!("{}{number:010}", prefix(claim, mode))
    }

    fn ids<const N: usize>() -> [ClaimId; N] {
        std::array::from_fn(|_| ClaimId::random())
    }

    #[test]
    fn the_lowest_number_holds_and_each_waits_for_the_one_before_it() {
        let [a, b, c] = ids();
        let names = [node(c, Mode::Exclusive, 12), node(a, Mode::Exclusive, 9), node(b, Mode::Exclusive, 10)];
        let contest = Contest::of(names.to_vec());
        assert_eq!(contest.place(&names[1]), Some(Place::Holds));
        let Some(Place::Behind { predecessor, ahead, leads }) = contest.place(&names[0]) else {
            panic!("c holds")
        };
        assert_eq!((predecessor.claim, ahead, leads), (Some(b), 2, false));
        assert!(matches!(contest.place(&names[2]), Some(Place::Behind { leads: true, ahead: 1, .. })));
        assert_eq!(contest.holders(), 1);
        assert_eq!(contest.place("elsewhere"), None);
    }

    /// One that was cut off here made its node again and again.
    #[test]
    fn whoever_comes_after_ten_thousand_others_waits_behind_all_of_them() {
        let [late] = ids();
        let mut names: Vec<String> = (0..10_050).map(|at| format!("x__lock__{at:010}")).collect();
        names.push(node(late, Mode::Exclusive, 10_050));
        let contest = Contest::of(names.clone());
        assert_eq!((contest.of_claim(late).count(), contest.entries().len()), (1, 10_051));
        let Some(Place::Behind { ahead, .. }) = contest.place(&names[10_050]) else { panic!("it holds") };
        assert_eq!(ahead, 10_050);
    }

    #[test]
    fn leading_readers_hold_together_and_later_ones_wait_for_the_writer_before_them() {
        let [a, b, writer, late] = ids();
        let names = [
            node(a, Mode::Shared, 1),
            node(b, Mode::Shared, 2),
            node(writer, Mode::Exclusive, 3),
            node(late, Mode::Shared, 4),
        ];
        let contest = Contest::of(names.to_vec());
        assert_eq!(contest.holders(), 2);
        assert_eq!(contest.place(&names[1]), Some(Place::Holds));
        let Some(Place::Behind { predecessor, .. }) = contest.place(&names[3]) else { panic!("late holds") };
        assert_eq!(predecessor.claim, Some(writer));
        let in_the_way = |contest: &Contest, mode| contest.in_the_way_of(mode).map(|entry| entry.claim);
        assert_eq!(in_the_way(&contest, Mode::Shared), Some(Some(writer)));
        assert_eq!(in_the_way(&contest, Mode::Exclusive), Some(Some(a)));
        let mut readers = contest;
        readers.leave_out(&names[2]);
        assert_eq!(in_the_way(&readers, Mode::Shared), None);
    }

    #[test]
    fn pythons_nodes_contend_and_kazoos_readers_are_readers() {
        let [a] = ids();
        let python = "0123456789abcdef0123456789abcdef__lock__0000000003".to_owned();
        let odd = "whoever-__lock__0000000004".to_owned();
        let reader = format!("{}__rlock__0000000002", "0".repeat(32));
        let contest = Contest::of(vec![odd, reader, python, node(a, Mode::Exclusive, 5)]);
        let modes: Vec<Mode> = contest.entries().iter().map(|entry| entry.mode).collect();
        assert_eq!(modes, [Mode::Shared, Mode::Exclusive, Mode::Exclusive, Mode::Exclusive]);
        let known: Vec<bool> = contest.entries().iter().map(|entry| entry.claim.is_some()).collect();
        assert_eq!(known, [false, true, false, true]);
    }

    #[test]
    fn what_is_no_contender_is_left_out() {
        for name in [
            "",
            "x",
            "__lock__",
            "a__lock__1",
            "a__lock__00000000012",
            "a__lock__-00000001",
            "a__lock__-00000000012",
            "a__lock__--00000001",
            "a__lock__-",
            "a__lock__000000000x",
            "lock__0000000001",
        ] {
            assert_eq!(Entry::read(name.to_owned()), None, "{name}");
        }
    }

    #[test]
    fn the_order_goes_on_where_the_servers_counter_wraps() {
        let old = "a__lock__2147483647".to_owned();
        let new = "b__lock__-2147483648".to_owned();
        let contest = Contest::of(vec![new.clone(), old.clone()]);
        assert_eq!(contest.place(&old), Some(Place::Holds));
        assert!(matches!(contest.place(&new), Some(Place::Behind { .. })));
    }

    /// It writes ten characters, and the sign is one of them.
    #[test]
    fn every_number_that_the_server_counts_is_a_contenders() {
        let counted = [i32::MAX, i32::MIN, -1_000_000_000, -999_999_999, -10, -1, 0];
        let names = counted.map(|number| format!("a__lock__{number:010}"));
        assert!(names.contains(&"a__lock__-000000001".to_owned()));
        for (name, number) in names.iter().zip(counted) {
            let entry = Entry::read(name.clone());
            assert_eq!(entry.map(|entry| entry.number), Some(i64::from(number)), "{name}");
        }
        let contest = Contest::of(vec![names[5].clone(), names[4].clone(), names[3].clone()]);
        assert_eq!(contest.place(&names[3]), Some(Place::Holds));
    }

    proptest! {
        #[test]
        fn any_names_are_ordered_without_panic_and_somebody_holds(
            names in prop::collection::vec("[a-f0-9]{0,3}(_shared)?__r?lock__([0-9]{10}|-[0-9]{9,10})", 0..30)
        ) {
            let contest = Contest::of(names.clone());
            prop_assert_eq!(contest.entries().len(), names.len());
            prop_assert_eq!(contest.holders() > 0, !names.is_empty());
        }
    }
}
