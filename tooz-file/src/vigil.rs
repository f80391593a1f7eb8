//! Waiting for news of a group.

use tooz_core::backend::{Enrolment, Mark};
use tooz_core::{Name, Result};

use crate::error::deaf;
use crate::groups::{Groups, MEMBERS, member_file};
use crate::keys::Segment;
use crate::watch::{Interest, Watch};

impl Groups {
    /// Waits until a look shows something else than the one that made the mark.
    pub(crate) async fn stirred_since(&self, group: &Name, mark: Option<Mark>) {
        // The fact that made the mark may have been looked at in such an instant, too.
        let mut echo = self.session.patience.echo();
        loop {
            let heard = self.attend(group).and_then(|watch| Ok((watch, self.look(group)?)));
            match heard {
                Ok((_, roster)) if roster.as_ref().map(|roster| roster.mark) != mark => return,
                Ok((Some(watch), _)) => self.session.patience.news(&watch, &mut echo).await,
                // Its place in the file system changes this moment: look again.
                Ok((None, _)) => self.session.patience.breathe().await,
                // Deaf for now: let the caller look, in a while.
                Err(_) => return self.session.patience.while_deaf().await,
            }
        }
    }

    /// Listens to the group's folder, or for its coming; `None` if it comes or goes right now.
    fn attend(&self, group: &Name) -> Result<Option<Watch>> {
        let groups = &self.session.root.groups;
        let name = Segment::of(group).as_str().to_owned();
        if let Some(watch) = self.listen(&groups.path_of(&name), Interest::Entries(MEMBERS))? {
            return Ok(Some(watch));
        }
        let watch = self.listen(groups.path(), Interest::Entry(name.clone()))?;
        Ok(if groups.identity_of(&name)?.is_none() { watch } else { None })
    }

    /// Waits until this session's file no longer stands as the member's.
    pub(crate) async fn keep_watch(&self, enrolment: &Enrolment) {
        let path = self.session.root.groups.path_of(Segment::of(&enrolment.group).as_str());
        loop {
            let file = self.listen(&path.join(member_file(&enrolment.member)), Interest::Keep);
            let folder = self.listen(&path, Interest::Stay);
            let stands = || match self.find(&enrolment.group)? {
                Some(folder) => self.stands(&folder, enrolment),
                None => Ok(false),
            };
            match (file, folder, stands()) {
                (Ok(Some(file)), Ok(Some(folder)), Ok(true)) => {
                    tokio::select! {
                        () = file.rung() => {}
                        () = folder.rung() => {}
                    }
                }
                (Ok(None), ..) | (_, Ok(None), _) | (_, _, Ok(false)) => return,
                // Deaf for now: look again in a while.
                _ => self.session.patience.while_deaf().await,
            }
        }
    }

    fn listen(&self, path: &std::path::Path, interest: Interest) -> Result<Option<Watch>> {
        match self.session.ear().listen(path, interest) {
            Ok(watch) => Ok(Some(watch)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(deaf(path, error)),
        }
    }
}
