//! The order in which tasks run, for tests that draw it.
//!
//! Every task that core starts passes through [`ordered`]. Without the feature `orders` that is the task itself. With it, a
//! task that was started while [`Orders`] were in force on the thread is polled only when it is its turn among all tasks
//! that could go on: whose turn it is, the test says. So one seed is one order, and what no usual run would ever show, a
//! few hundred seeds do.

#[cfg(not(feature = "orders"))]
pub(crate) fn ordered<T>(task: T) -> T {
    task
}

#[cfg(feature = "orders")]
pub use self::drawn::{Orders, ordered};

#[cfg(feature = "orders")]
mod drawn {
    use std::cell::RefCell;
    use std::collections::BTreeSet;
    use std::fmt;
    use std::pin::Pin;
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
    use std::task::{Context, Poll, Wake, Waker};

    thread_local! {
        static IN_FORCE: RefCell<Option<Arc<Board>>> = const { RefCell::new(None) };
    }

    /// Says which of these tasks goes on. They are numbered as they were started.
    type Choose = Box<dyn FnMut(&BTreeSet<u64>) -> u64 + Send>;

    /// In force on this thread until dropped.
    pub struct Orders(Arc<Board>);

    impl Orders {
        /// From now on `choose` says which of the tasks that could go on does so, each time one can.
        pub fn by(choose: impl FnMut(&BTreeSet<u64>) -> u64 + Send + 'static) -> Self {
            let (alive, able) = (BTreeSet::new(), BTreeSet::new());
            let table = Table { choose: Box::new(choose), started: 0, alive, able, chosen: None, turns: 0 };
            let board = Arc::new(Board(Mutex::new(table)));
            IN_FORCE.with(|in_force| *in_force.borrow_mut() = Some(Arc::clone(&board)));
            Self(board)
        }

        /// How many turns there were, and how many tasks were started.
        pub fn turns(&self) -> (u64, u64) {
            let table = self.0.table();
            (table.turns, table.started)
        }
    }

    impl Drop for Orders {
        fn drop(&mut self) {
            IN_FORCE.with(|in_force| in_force.borrow_mut().take());
        }
    }

    impl fmt::Debug for Orders {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "Orders({:?})", self.turns())
        }
    }

    struct Board(Mutex<Table>);

    struct Table {
        choose: Choose,
        started: u64,
        /// Those that have not ended.
        alive: BTreeSet<u64>,
        /// Those that could go on.
        able: BTreeSet<u64>,
        /// Whose turn it is, until it goes on.
        chosen: Option<u64>,
        turns: u64,
    }

    impl Board {
        fn table(&self) -> MutexGuard<'_, Table> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// The task, polled in its turn where orders are in force.
    pub fn ordered<F: Future>(task: F) -> impl Future<Output = F::Output> + use<F> {
        let place = IN_FORCE.with(|in_force| in_force.borrow().clone()).map(|board| {
            let mut table = board.table();
            let number = table.started;
            table.started += 1;
            table.alive.insert(number);
            table.able.insert(number);
            drop(table);
            Arc::new(Place { board, number, outer: Mutex::new(None) })
        });
        Ordered { task: Box::pin(task), place }
    }

    struct Ordered<F> {
        task: Pin<Box<F>>,
        place: Option<Arc<Place>>,
    }

    struct Place {
        board: Arc<Board>,
        number: u64,
        outer: Mutex<Option<Waker>>,
    }

    impl Place {
        fn outer(&self) -> MutexGuard<'_, Option<Waker>> {
            self.outer.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// Whether it is this one's turn, which it then takes; `None` where it could not go on.
        fn takes_its_turn(&self) -> Option<bool> {
            let mut table = self.board.table();
            if !table.able.contains(&self.number) {
                return None;
            }
            let Table { choose, able, chosen, turns, .. } = &mut *table;
            let turn = *chosen.get_or_insert_with(|| choose(able));
            if turn != self.number {
                return Some(false);
            }
            (*chosen, *turns) = (None, *turns + 1);
            able.remove(&self.number);
            Some(true)
        }
    }

    impl Wake for Place {
        fn wake(self: Arc<Self>) {
            let mut table = self.board.table();
            if !table.alive.contains(&self.number) {
                return; // a waker may outlive its task
            }
            table.able.insert(self.number);
            drop(table);
            let outer = self.outer().clone();
            outer.into_iter().for_each(Waker::wake);
        }
    }

    impl<F: Future> Future for Ordered<F> {
        type Output = F::Output;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
            let Some(place) = self.place.clone() else { return self.task.as_mut().poll(cx) };
            *place.outer() = Some(cx.waker().clone());
            match place.takes_its_turn() {
                Some(true) => {
                    let waker = Waker::from(place);
                    self.task.as_mut().poll(&mut Context::from_waker(&waker))
                }
                Some(false) => {
                    // Behind the others, until it is this one's turn.
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                None => Poll::Pending,
            }
        }
    }

    impl<F> Drop for Ordered<F> {
        fn drop(&mut self) {
            let Some(place) = &self.place else { return };
            let mut table = place.board.table();
            table.alive.remove(&place.number);
            table.able.remove(&place.number);
            table.chosen = table.chosen.filter(|chosen| *chosen != place.number);
        }
    }
}
