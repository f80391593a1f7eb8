//! Whatever others left in a store, a URL or a file, every decoder reads it or refuses it: no panic, no abort, on a
//! stack of 256 KiB.
//!
//! `conformance/corpus/DECODER/` holds inputs that are played each time, and what strangers write is made from them:
//! `TOOZ_ROUNDS=100000` makes so many for each decoder.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

use conformance::volume::rounds;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::thread;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{TestCaseError, TestRunner};
use tooz_core::hostile::Decoder;

/// What a thread of a runtime may have at least.
const STACK: usize = 256 * 1024;

fn decoders() -> impl Iterator<Item = (&'static str, Decoder)> {
    let all = [
        tooz_core::hostile::DECODERS,
        tooz_etcd::hostile::DECODERS,
        tooz_file::hostile::DECODERS,
        tooz_redis::hostile::DECODERS,
        tooz_zookeeper::hostile::DECODERS,
    ];
    all.into_iter().flatten().copied()
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The inputs of one decoder by their files.
fn inputs(decoder: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let files = std::fs::read_dir(corpus().join(decoder));
    let files = files.unwrap_or_else(|error| panic!("no corpus for {decoder}: {error}"));
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
}

/// The thread bears the decoder's name, which is all that is left to tell where a stack overflows.
fn survives(name: &str, decode: Decoder, bytes: Vec<u8>) -> bool {
    let thread = thread::Builder::new().name(name.to_owned()).stack_size(STACK);
    thread.spawn(move || decode(&bytes)).unwrap().join().is_ok()
}

#[test]
fn every_decoder_survives_its_corpus_on_a_small_stack() {
    let mut refused = Vec::new();
    for (name, decode) in decoders() {
        let inputs = inputs(name);
        assert!(inputs.len() >= 3, "{name} has too few inputs");
        refused.extend(
            inputs
                .into_iter()
                .filter(|(_, bytes)| !survives(name, decode, bytes.clone()))
                .map(|(file, _)| file),
        );
    }
    assert!(refused.is_empty(), "these made their decoders panic: {refused:#?}");
}

#[test]
fn every_corpus_belongs_to_a_decoder() {
    let known: BTreeSet<String> = decoders().map(|(name, _)| name.to_owned()).collect();
    let folders = std::fs::read_dir(corpus()).unwrap();
    let folders: BTreeSet<String> =
        folders.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(folders, known);
}

/// One way in which a stranger's bytes differ from ours.
#[derive(Clone, Debug)]
enum Damage {
    Byte(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
    Repeat(Index, Index, u8),
    Swap(Index, Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let telling =
        prop::sample::select(vec![0, 1, 0x7f, 0x80, 0xff, b'0', b'9', b'-', b'/', b'%', b'\n', 0x91, 0xdd]);
    prop_oneof![
        (any::<Index>(), prop_oneof![any::<u8>(), telling]).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        any::<Index>().prop_map(Damage::Cut),
        (any::<Index>(), prop::collection::vec(any::<u8>(), 0..9))
            .prop_map(|(at, new)| Damage::Insert(at, new)),
        (any::<Index>(), any::<Index>(), 1..60u8).prop_map(|(at, to, times)| Damage::Repeat(at, to, times)),
        (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Damage::Swap(one, other)),
    ]
}

impl Damage {
    fn apply(self, mut bytes: Vec<u8>) -> Vec<u8> {
        let place = |at: Index| at.index(bytes.len() + 1);
        match self {
            Self::Byte(at, byte) => {
                let at = place(at);
                bytes.splice(at..bytes.len().min(at + 1), [byte]);
            }
            Self::Cut(at) => bytes.truncate(place(at)),
            Self::Insert(at, new) => {
                let at = place(at);
                bytes.splice(at..at, new);
            }
            Self::Repeat(at, to, times) => {
                let (at, to) = (place(at).min(place(to)), place(at).max(place(to)));
                let part = bytes.get(at..to.min(at + 4096)).unwrap_or_default().repeat(times.into());
                bytes.splice(at..at, part);
            }
            Self::Swap(one, other) if !bytes.is_empty() => {
                let (one, other) = (one.index(bytes.len()), other.index(bytes.len()));
                bytes.swap(one, other);
            }
            Self::Swap(..) => {}
        }
        bytes
    }
}

fn strange(known: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let damaged = (prop::sample::select(known), prop::collection::vec(damage(), 1..5))
        .prop_map(|(bytes, damages)| damages.into_iter().fold(bytes, |bytes, damage| damage.apply(bytes)));
    prop_oneof![1 => prop::collection::vec(any::<u8>(), 0..300), 4 => damaged]
}

#[test]
fn every_decoder_survives_what_strangers_write() {
    let rounds = u32::try_from(rounds(300)).unwrap();
    for (name, decode) in decoders() {
        let known =
            inputs(name).into_iter().map(|(_, bytes)| bytes).filter(|bytes| bytes.len() < 5_000).collect();
        let mut runner = TestRunner::new(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(rounds)
        });
        let outcome = runner.run(&strange(known), |bytes| match survives(name, decode, bytes) {
            true => Ok(()),
            false => Err(TestCaseError::fail("it panics")),
        });
        outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
