//! What documents say about the code is looked up in the code.

#![allow(clippy::unwrap_used)] // a failed assumption here is a failed test

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The names of all tests below `folder`: functions with the attribute, and cases of the suite, which a catalogue lists.
fn tests(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                tests(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let mut is_test = path.parent().is_some_and(|folder| folder.ends_with("cases"));
            let is_case = is_test;
            for line in text.lines() {
                let line = line.trim_start();
                if let Some((_, rest)) = line.split_once("fn ") {
                    let name = rest.split(['(', '<', '$']).next().unwrap_or_default();
                    found.extend(is_test.then(|| name.to_owned()));
                    is_test = is_case;
                }
                is_test |= line.starts_with("#[") && line.contains("test");
            }
        }
    }
}

/// Whatever is set as code in `text` and looks like the name of a test: at least four words, and no metric of ours.
fn named(text: &str) -> Vec<&str> {
    let is_test = |code: &&str| {
        code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            && code.split('_').filter(|word| !word.is_empty()).count() >= 4
            && !code.starts_with("tooz_")
    };
    text.split('`').skip(1).step_by(2).filter(is_test).collect()
}

/// Every document below `folder`.
fn markdown(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => markdown(&path, found),
            false => {
                found.extend(path.extension().is_some_and(|extension| extension == "md").then_some(path))
            }
        }
    }
}

/// Documents that name many tests, and how many at least.
const MANY: [(&str, usize); 4] = [
    ("docs/guarantees.md", 80),
    ("docs/interleavings.md", 70),
    ("docs/wire/etcd.md", 30),
    ("docs/wire/zookeeper.md", 30),
];

#[test]
fn every_test_that_a_document_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut known = BTreeSet::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.join("Cargo.toml").exists() {
            tests(&path, &mut known);
        }
    }
    let mut documents = vec![root.join("ARCHITECTURE.md"), root.join("CHANGELOG.md")];
    markdown(&root.join("docs"), &mut documents);
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        let named = named(&text);
        let least = MANY.iter().find(|(name, _)| document.ends_with(name)).map_or(0, |(_, least)| *least);
        assert!(named.len() >= least, "{} tests are named in {document:?}", named.len());
        let gone: Vec<&&str> = named.iter().filter(|name| !known.contains(**name)).collect();
        assert!(gone.is_empty(), "named in {document:?} and not there: {gone:#?}");
    }
}
