//! The store itself: who holds and who waits, and a bell that rings at every change.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;
use tooz_core::{Claim, ClaimId, FencingToken, Seat, SessionId};

/// One desk, found by name as long as somebody is at it.
pub struct Desk {
    book: Mutex<Book>,
    bell: watch::Sender<u64>,
}

/// What the desk knows.
#[derive(Default)]
pub struct Book {
    pub seats: HashMap<Seat, Contest>,
    pub sessions: HashSet<SessionId>,
    pub void: HashSet<ClaimId>,
}

/// Who is at one seat.
#[derive(Default)]
pub struct Contest {
    pub holder: Option<(SessionId, Claim, FencingToken, bool)>,
    pub queue: VecDeque<(SessionId, Claim)>,
}

static DESKS: Mutex<Option<HashMap<String, Weak<Desk>>>> = Mutex::new(None);

impl Desk {
    pub fn named(name: &str) -> Arc<Self> {
        let mut desks = DESKS.lock().unwrap_or_else(PoisonError::into_inner);
        let desks = desks.get_or_insert_default();
        if let Some(desk) = desks.get(name).and_then(Weak::upgrade) {
            return desk;
        }
        let desk = Arc::new(Self { book: Mutex::default(), bell: watch::Sender::new(1) });
        desks.insert(name.to_owned(), Arc::downgrade(&desk));
        desk
    }

    /// Reads the book.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the book and rings.
    pub fn change<T>(&self, act: impl FnOnce(&mut Book) -> T) -> T {
        let done = act(&mut self.book());
        self.bell.send_modify(|changes| *changes += 1);
        done
    }

    /// How often the bell has rung.
    pub fn changes(&self) -> u64 {
        *self.bell.borrow()
    }

    /// Waits until `look` says so, looking at first and at every ring.
    pub async fn until(&self, look: impl Fn(&Book, u64) -> bool) {
        let mut bell = self.bell.subscribe();
        loop {
            let changes = *bell.borrow_and_update();
            if look(&self.book(), changes) || bell.changed().await.is_err() {
                return;
            }
        }
    }

    /// Ends a session and frees what it has.
    pub fn end(&self, session: SessionId) {
        self.change(|book| {
            book.sessions.remove(&session);
            for contest in book.seats.values_mut() {
                contest.holder.take_if(|(of, ..)| *of == session);
                contest.queue.retain(|(of, _)| *of != session);
            }
            book.tidy();
        });
    }

    /// What is left behind, one line each.
    pub fn leftovers(&self) -> Vec<String> {
        let book = self.book();
        let seats = book.seats.keys().map(|seat| format!("{seat} is held or wanted"));
        seats.chain(book.sessions.iter().map(|session| format!("session {session}"))).collect()
    }
}

impl Book {
    /// One count for the process: a desk that was forgotten and comes back repeats no token.
    pub fn next_token(&mut self) -> FencingToken {
        static LAST_TOKEN: AtomicU64 = AtomicU64::new(0);
        FencingToken::new(LAST_TOKEN.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Forgets seats that nobody holds or wants.
    pub fn tidy(&mut self) {
        self.seats.retain(|_, contest| contest.holder.is_some() || !contest.queue.is_empty());
    }
}
