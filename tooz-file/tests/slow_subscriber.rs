//! What a subscriber holds that does not read. Alone in its process, whose memory is measured.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use tooz_core::{Delivery, From, Registry};

const MEBIBYTE: usize = 1024 * 1024;

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn two_hundred_and_fifty_six_mebibytes_cost_a_reader_that_sleeps_less_than_thirty_two() {
    let root = tempfile::tempdir().unwrap();
    let url = format!("file://{}/root", root.path().display());
    let coord = Registry::new().with(tooz_file::FileDriver::new()).builder(url).connect().await.unwrap();
    let topic = coord.topic("bulk");
    let payload = bytes::Bytes::from(vec![b'x'; MEBIBYTE]);
    let mut reading = topic.subscribe(From::Beginning).await.unwrap();
    // Woken once, so that it has everything it needs.
    topic.publish(payload.clone()).await.unwrap();
    reading.next().await.unwrap();

    let before = resident_bytes();
    for _ in 0..256 {
        topic.publish(payload.clone()).await.unwrap();
    }
    let asleep = resident_bytes().saturating_sub(before);
    assert!(asleep < 32 * MEBIBYTE, "{asleep} bytes more while it sleeps");

    let mut most = 0;
    for _ in 0..256 {
        match reading.next().await.unwrap() {
            Delivery::Message(message) => assert_eq!(message.payload.len(), MEBIBYTE),
            other => panic!("{other:?}"),
        }
        most = most.max(resident_bytes().saturating_sub(before));
    }
    assert!(most < 32 * MEBIBYTE, "{most} bytes more while it reads");
    coord.close().await.unwrap();
}
