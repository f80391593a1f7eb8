//! What one listener wants to hear of a file or folder.

/// What happened to a file or folder that is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News<'a> {
    /// An open file that could be written was closed. Its owner has let go of its locks by then, but was it
    /// killed, the kernel does so an instant later.
    Closed,
    /// It was written to or cut, as a lock file is by whoever lets go of it.
    Written,
    /// Its attributes changed; its number of names is one of them.
    Changed,
    /// It is gone.
    Gone,
    /// It was renamed.
    Moved,
    /// An entry of the folder came, went, or was closed by a writer.
    Entry(&'a str),
    /// An entry of the folder was written to or cut.
    EntryWritten(&'a str),
}

/// What an interest is about.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    File,
    /// A folder, whatever is in it.
    Folder,
    /// What is in a folder, and the folder itself.
    Entries,
    /// The same, and what is written in it.
    Writings,
}

/// What one listener wants to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// That the lock may have been let go of.
    Release,
    /// That a short lock may have been let go of. What is written meanwhile is no news.
    Gate,
    /// That the process behind a claim's file let go of it. Its moves from place to place are no news.
    End,
    /// That a file of our own no longer stands where we put it.
    Keep,
    /// That a folder was moved or removed.
    Stay,
    /// That an entry whose name begins so came or went, or that the folder was moved or removed.
    Entries(&'static [&'static str]),
    /// The same of an entry that is written to. It may stay open for long: a forked child has a copy.
    Writings(&'static [&'static str]),
    /// That the entry of this name came or went.
    Entry(String),
}

impl Interest {
    pub(super) fn hears(&self, news: News<'_>) -> bool {
        match (self, news) {
            (Self::Release | Self::Gate, News::Entry(_) | News::EntryWritten(_)) => false,
            (Self::Release, _) => true,
            (Self::Gate, news) => news != News::Written,
            (Self::End, news) => matches!(news, News::Closed | News::Changed | News::Gone),
            (Self::Keep, news) => matches!(news, News::Changed | News::Gone | News::Moved),
            (Self::Stay, news) => matches!(news, News::Gone | News::Moved),
            (Self::Entries(prefixes), News::Entry(name))
            | (Self::Writings(prefixes), News::Entry(name) | News::EntryWritten(name)) => {
                prefixes.iter().any(|prefix| name.starts_with(prefix))
            }
            (Self::Entry(wanted), News::Entry(name)) => name == wanted,
            (Self::Entries(_) | Self::Writings(_) | Self::Entry(_), news) => {
                matches!(news, News::Gone | News::Moved)
            }
        }
    }

    /// What it is about.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn about(&self) -> About {
        match self {
            Self::Stay => About::Folder,
            Self::Entries(_) | Self::Entry(_) => About::Entries,
            Self::Writings(_) => About::Writings,
            Self::Release | Self::Gate | Self::End | Self::Keep => About::File,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interest_hears_its_news_only() {
        assert!(Interest::Release.hears(News::Closed) && Interest::Release.hears(News::Moved));
        assert!(Interest::Gate.hears(News::Closed) && !Interest::Gate.hears(News::Written));
        assert!(Interest::Release.hears(News::Written) && !Interest::Keep.hears(News::Written));
        assert!(Interest::End.hears(News::Closed) && !Interest::End.hears(News::Moved));
        assert!(Interest::Keep.hears(News::Moved) && !Interest::Keep.hears(News::Closed));
        assert!(!Interest::Stay.hears(News::Entry("x")));
        assert!(Interest::Entries(&["q-"]).hears(News::Entry("q-1")));
        assert!(!Interest::Entries(&["q-"]).hears(News::Entry("counter")));
        assert!(!Interest::Entries(&["q-"]).hears(News::EntryWritten("q-1")));
        assert!(Interest::Writings(&["x-"]).hears(News::EntryWritten("x-1")));
        assert!(!Interest::Writings(&["x-"]).hears(News::EntryWritten("d-1")));
        assert!(
            Interest::Entry("a".into()).hears(News::Entry("a"))
                && !Interest::Entry("a".into()).hears(News::Entry("ab"))
        );
    }
}
