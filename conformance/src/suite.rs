//! Running cases: which apply, in which weather, and what is said about those that do not.

use std::fmt;
use std::io::Write;

use futures_util::future::LocalBoxFuture;
use tooz_core::backend::{Fairness, Fencing, Liveness, Profile};

use crate::cases::CASES;
use crate::harness::Harness;
use crate::volume;
use crate::world::World;

/// One promise and how it is tried.
pub struct Case {
    /// Room and promise: `steps_try::a_failed_try_leaves_nothing`.
    pub name: &'static str,
    /// What the profile must declare for the case to apply.
    pub needs: &'static [Need],
    /// The case itself.
    pub run: for<'a> fn(&'a World) -> LocalBoxFuture<'a, ()>,
}

/// Something a store may or may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Locks and elections.
    Locks,
    /// Shared locks.
    Shared,
    /// Waiters served in order.
    Fifo,
    /// Fencing tokens.
    Fencing,
    /// Groups.
    Groups,
    /// Topics.
    Topics,
    /// Sessions that end when they are not renewed.
    Lease,
}

impl Need {
    /// Whether a store of this profile has it.
    pub fn is_met_by(self, profile: &Profile) -> bool {
        let locks = profile.locks.as_ref();
        match self {
            Self::Locks => locks.is_some(),
            Self::Shared => locks.is_some_and(|locks| locks.shared),
            Self::Fifo => locks.is_some_and(|locks| locks.fairness == Fairness::Fifo),
            Self::Fencing => locks.is_some_and(|locks| locks.fencing != Fencing::None),
            Self::Groups => profile.groups.is_some(),
            Self::Topics => profile.topics.is_some(),
            Self::Lease => matches!(profile.liveness, Liveness::Lease(_)),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Locks => "locks",
            Self::Shared => "shared locks",
            Self::Fifo => "service in order",
            Self::Fencing => "fencing tokens",
            Self::Groups => "groups",
            Self::Topics => "topics",
            Self::Lease => "sessions that live by a lease",
        })
    }
}

/// What lies between core and the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Nothing.
    Clear,
    /// A bad network, several seeds per case: see [`faulty`](crate::faulty).
    Faulty,
}

const USUAL_ROUNDS: u64 = 3;

/// Runs one case, each time on a fresh harness. What the macros expand to.
pub fn run(name: &str, weather: Weather, fresh: &dyn Fn() -> Box<dyn Harness>) {
    let case = CASES.iter().find(|case| case.name == name);
    assert!(case.is_some(), "there is no case {name}");
    let Some(case) = case else { return };
    match weather {
        Weather::Clear => run_once(case, fresh(), None),
        Weather::Faulty => seeds(name).into_iter().for_each(|seed| run_once(case, fresh(), Some(seed))),
    }
}

/// Says how many cases there are and which do not apply, with their reasons. The test
/// `suite::counts_its_cases`.
pub fn count(weather: Weather, fresh: &dyn Fn() -> Box<dyn Harness>) {
    let harness = fresh();
    let runtime = runtime(&*harness);
    runtime.block_on(async {
        let world = World::new(harness, None);
        let profile = world.profile().await;
        let all: Vec<&Case> = CASES.iter().filter(|case| applies_in(case, weather)).collect();
        let skipped = all.iter().filter_map(|case| Some((case.name, skip(case, &world, &profile)?)));
        let skipped: Vec<(&str, String)> = skipped.collect();
        let (store, skips) = (profile.store, skipped.len());
        say(&format!("conformance of {store} ({weather:?}): {} cases, {skips} skipped", all.len()));
        for (name, reason) in skipped {
            assert!(!reason.trim().is_empty(), "{name} is skipped without a reason");
            say(&format!("  skipped {name}: {reason}"));
        }
        world.finish().await;
    });
}

fn applies_in(case: &Case, weather: Weather) -> bool {
    weather == Weather::Clear || !case.name.starts_with("steps_")
}

fn run_once(case: &Case, harness: Box<dyn Harness>, seed: Option<u64>) {
    let runtime = runtime(&*harness);
    let _announcement = Announcement(case.name, seed);
    runtime.block_on(async {
        let world = World::new(harness, seed);
        let profile = world.profile().await;
        if let Some(reason) = skip(case, &world, &profile) {
            say(&format!("skipped {} on {}: {reason}", case.name, profile.store));
            return;
        }
        (case.run)(&world).await;
        world.finish().await;
    });
}

fn runtime(harness: &dyn Harness) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let built = builder.enable_all().start_paused(harness.paused()).build();
    built.unwrap_or_else(|e| crate::verdict::fail(format!("no runtime for the case: {e}")))
}

fn skip(case: &Case, world: &World, profile: &Profile) -> Option<String> {
    let unmet = case.needs.iter().find(|need| !need.is_met_by(profile));
    let undeclared = unmet.map(|need| format!("the profile declares no {need}"));
    undeclared.or_else(|| world.harness().exempt(case.name).map(str::to_owned))
}

/// The seeds of one case: always the same few, so that a test that passes goes on passing.
fn seeds(case: &str) -> Vec<u64> {
    if let Some(seed) = volume::seed() {
        return vec![seed];
    }
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let first = case.bytes().fold(0xcbf2_9ce4_8422_2325, fold) >> 16;
    (0..volume::rounds(USUAL_ROUNDS)).map(|round| first.wrapping_add(round)).collect()
}

/// Tells how to play a failed case again.
struct Announcement(&'static str, Option<u64>);

impl Drop for Announcement {
    fn drop(&mut self) {
        if let (true, Some(seed)) = (std::thread::panicking(), self.1) {
            say(&format!("{} failed with seed {seed}: TOOZ_SEED={seed} replays it", self.0));
        }
    }
}

/// Writes past the capture of the test runner, which hides what passing tests print.
fn say(line: &str) {
    // A closed stderr must not fail a test.
    let _ = writeln!(std::io::stderr(), "{line}");
}
