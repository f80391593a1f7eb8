//! The line that says for whom one waits.

use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tooz::backend::Queue;
use tooz::{Name, QueueView, Seat};

use super::output::Output;
use super::who;

/// How often a line on a terminal counts its seconds. Only the clock ticks; the store is not asked.
const TICK: Duration = Duration::from_secs(1);

/// Waits for `contest`, telling meanwhile who holds the seat: a live line on a terminal, else one plain line.
pub(crate) async fn tell<T>(
    out: Output,
    seat: &Seat,
    me: &Name,
    view: impl Future<Output = tooz::Result<QueueView>>,
    contest: impl Future<Output = T>,
) -> T {
    let mut line = Line { out, seat, me, live: io::stderr().is_terminal() && !out.is_json(), shown: false };
    let mut contest = pin!(contest);
    let mut opening = pin!(view);
    let mut view = None;
    let mut seen: Option<Instant> = None;
    loop {
        tokio::select! {
            biased;
            done = &mut contest => {
                line.clear();
                return done;
            }
            // Failing to look is no reason to stop waiting.
            opened = &mut opening, if seen.is_none() => {
                seen = Some(Instant::now());
                view = opened.ok();
            }
            true = changed(view.as_mut()), if view.is_some() => seen = Some(Instant::now()),
            () = tokio::time::sleep(TICK), if line.live && line.shown => {}
        }
        if let (Some(view), Some(seen)) = (&view, seen) {
            line.show(&view.borrow(), seen.elapsed());
        }
    }
}

/// Whether there is something new; never ends where there will be nothing.
async fn changed(view: Option<&mut QueueView>) -> bool {
    match view {
        Some(view) => match view.changed().await {
            Ok(()) => true,
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

struct Line<'a> {
    out: Output,
    seat: &'a Seat,
    me: &'a Name,
    live: bool,
    shown: bool,
}

impl Line<'_> {
    fn show(&mut self, queue: &Queue, since: Duration) {
        // Not yet, or no longer in the way of anybody: the contest will end by itself.
        let Some(text) = text(self.seat, self.me, queue, since) else { return };
        if self.live {
            let width = terminal_width();
            let cut: String = text.chars().take(width.saturating_sub(7)).collect();
            // A terminal that cannot be written to is nobody's loss.
            let _ = write!(io::stderr().lock(), "\r\x1b[Ktooz: {cut}");
        } else if self.shown {
            return;
        } else if position(queue, self.me).is_none() {
            // The one line a log gets shall tell our place, and that is on its way.
            return;
        } else {
            let holders: Vec<_> =
                queue.holders.iter().map(|holder| holder.member.as_ref().map(Name::as_str)).collect();
            let name = self.seat.name().as_str();
            let machine = json!({ "note": "waiting", "name": name, "holders": holders,
                "position": position(queue, self.me) });
            self.out.note(text, &machine);
        }
        self.shown = true;
    }

    fn clear(&self) {
        if self.live && self.shown {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

impl Drop for Line<'_> {
    /// Given up by a signal: what comes next starts on a clean line.
    fn drop(&mut self) {
        self.clear();
    }
}

fn text(seat: &Seat, me: &Name, queue: &Queue, since: Duration) -> Option<String> {
    let place = position(queue, me);
    if queue.holders.is_empty() && place.is_none() {
        return None;
    }
    let held = match queue.holders.is_empty() {
        true => "held by nobody".to_owned(),
        false => format!("held by {}", who::holders(queue, since)),
    };
    let place = place.map(|place| format!(", position {place}"));
    Some(format!("waiting for {seat}: {held}{}", place.unwrap_or_default()))
}

/// The first own place in the queue, from 1.
fn position(queue: &Queue, me: &Name) -> Option<usize> {
    queue.waiting.iter().position(|waiting| waiting.member.as_ref() == Some(me)).map(|index| index + 1)
}

fn terminal_width() -> usize {
    rustix::termios::tcgetwinsize(rustix::stdio::stderr())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|width| *width > 0)
        .unwrap_or(80)
}

#[cfg(test)]
mod tests {
    use tooz::Mode;
    use tooz::backend::{Contender, Holder};

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn the_line_names_holder_age_and_position() {
        let waiting = |member| Contender { claim: None, member: Some(name(member)), mode: Mode::Exclusive };
        let holder = Holder {
            claim: None,
            member: Some(name("web-1")),
            mode: Mode::Exclusive,
            token: None,
            value: None,
            age: Some(Duration::from_secs(10)),
        };
        let queue = Queue {
            holders: vec![holder],
            waiting: vec![waiting("web-2"), waiting("web-3")],
            ..Queue::default()
        };
        let seat = Seat::Lock(name("demo"));

        assert_eq!(
            text(&seat, &name("web-3"), &queue, Duration::from_secs(2)).unwrap(),
            "waiting for lock \"demo\": held by web-1 since 12s, position 2"
        );
        assert_eq!(text(&seat, &name("web-3"), &Queue::default(), Duration::ZERO), None);
    }
}
