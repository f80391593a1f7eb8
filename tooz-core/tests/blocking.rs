//! Blocking calls, wherever they are made.

use std::sync::mpsc;
use std::time::Duration;

use tooz_core::{Registry, State, blocking};

/// A task may go on for so long before it has to yield, which blocking code never does.
#[test]
fn blocking_calls_within_a_task_go_on_for_ever() {
    let (done, told) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let coord = blocking::connect(Registry::embedded().builder("memory://blocking-budget")).unwrap();
            let group = coord.group("g");
            group.create().unwrap();
            for _ in 0..200 {
                group.join(&()).unwrap().leave().unwrap();
            }
            coord.close().unwrap();
        });
        done.send(()).unwrap();
    });
    told.recv_timeout(Duration::from_secs(30)).expect("the calls end");
}

/// What a program keeps of how things stand is its own: a look that is held on to stops no heartbeat and no closing.
#[test]
fn a_look_at_the_state_that_is_held_on_to_holds_up_nobody() {
    let (done, told) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let coord = Registry::embedded().builder("memory://blocking-look").connect().await.unwrap();
            let state = coord.state();
            if let State::Connected = state.borrow() {
                coord.close().await.unwrap();
            }
            assert_eq!(state.borrow(), State::Closed);
        });
        done.send(()).unwrap();
    });
    told.recv_timeout(Duration::from_secs(30)).expect("closing ends");
}
