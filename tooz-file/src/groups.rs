//! Groups: a folder each, a file per member, alive as long as it is locked.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tooz_core::backend::{
    Created, Deleted, Enrolment, GroupSteps, Joined, Left, Mark, RosterEntry, RosterFact, Updated,
};
use tooz_core::{Error, ErrorKind, Name, Result};

use crate::contest::{Life, NAME, life};
use crate::folder::Folder;
use crate::keys::{Reading, Segment, read_segment};
use crate::our_file::OurFile;
use crate::record::{Record, wall_us};
use crate::session::Session;
use crate::short::ShortLock;

/// The short lock under which a group changes.
pub(crate) const GATE: &str = "gate";

/// What a member's file begins with.
pub(crate) const MEMBERS: &[&str] = &["m-"];

/// Others of a group that whoever joins looks at, to remove the files of the dead: few, so that joining stays cheap, and more
/// than the one it adds.
const LOOKED_AT: usize = 8;

/// The groups of one session.
pub(crate) struct Groups {
    pub(crate) session: Arc<Session>,
    memberships: Mutex<HashMap<(Name, Name), Membership>>,
}

/// A member's open file: closing it ends the membership.
struct Membership {
    file: OurFile,
    joined_us: u64,
}

/// An open group, nobody else changing it while this lives.
struct Inside {
    folder: Folder,
    _gate: ShortLock,
}

impl Groups {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session, memberships: Mutex::default() }
    }

    /// Leaves everything. What cannot be removed is dead from then on.
    pub(crate) async fn close(&self) {
        let all: Vec<(Name, Name)> = self.memberships().keys().cloned().collect();
        for (group, member) in all {
            if self.forsake(&group, &member).await.is_err() {
                // Once is enough: a gate that stays shut must not hold up the end once per group.
                return self.memberships().clear();
            }
        }
    }

    /// Opens a group's folder; `None` if there is no such group.
    pub(crate) fn find(&self, group: &Name) -> Result<Option<Folder>> {
        let folder = self.session.root.groups.sub(Segment::of(group).as_str())?;
        // Without its gate it is a planted folder, or one that is being taken apart.
        Ok(match folder {
            Some(folder) if folder.identity_of(GATE)?.is_some() => Some(folder),
            _ => None,
        })
    }

    /// Enters a group through its gate; `None` if there is no such group (any more).
    async fn enter(&self, group: &Name) -> Result<Option<Inside>> {
        loop {
            let Some(folder) = self.find(group)? else { return Ok(None) };
            let Some(gate) = self.session.patience.enter(&folder, GATE).await? else { continue };
            // Deleted while waiting at the gate, perhaps made anew.
            if self.find(group)?.is_some_and(|now| now.shows(GATE, &gate).unwrap_or(false)) {
                return Ok(Some(Inside { folder, _gate: gate }));
            }
        }
    }

    async fn forsake(&self, group: &Name, member: &Name) -> Result<Left> {
        let inside = self.enter(group).await?;
        let key = (group.clone(), member.clone());
        let Some(membership) = self.memberships().remove(&key) else { return Ok(Left::Absent) };
        let Some(inside) = inside else { return Ok(Left::Absent) };
        let name = member_file(member);
        if !inside.folder.shows(&name, &membership.file)? {
            return Ok(Left::Absent);
        }
        inside.folder.remove(&name)?;
        Ok(Left::Done)
    }

    /// Whether this session's own file stands as the member's.
    pub(crate) fn stands(&self, folder: &Folder, enrolment: &Enrolment) -> Result<bool> {
        let memberships = self.memberships();
        match memberships.get(&key(enrolment)) {
            Some(membership) => folder.shows(&member_file(&enrolment.member), &membership.file),
            None => Ok(false),
        }
    }

    pub(crate) fn look(&self, group: &Name) -> Result<Option<RosterFact>> {
        let Some(folder) = self.find(group)? else { return Ok(None) };
        let mut members = Vec::new();
        let mut names = folder.names()?;
        names.sort();
        for name in names.iter().filter(|name| MEMBERS.iter().any(|prefix| name.starts_with(prefix))) {
            let Life::Alive(file) = life(&folder, name)? else { continue };
            // A living file that is no record of ours stalls nobody.
            let Some(record) = Record::read(&file) else { continue };
            if member_file(&record.member) != *name {
                continue;
            }
            members.push(RosterEntry {
                session: Some(record.session),
                joined_at: Some(record.written_at()),
                member: record.member,
                capabilities: record.body,
            });
        }
        let mut digest = DefaultHasher::new();
        for member in &members {
            (&member.member, member.session, &member.capabilities, member.joined_at).hash(&mut digest);
        }
        Ok(Some(RosterFact { mark: Mark(digest.finish()), members, revisit: None }))
    }

    /// Removes files of members whose processes are gone, as far as a few looks beginning anywhere find them.
    fn bury_some(inside: &Inside, anywhere: u64) -> Result<()> {
        let mut names = inside.folder.names()?;
        names.retain(|name| MEMBERS.iter().any(|prefix| name.starts_with(prefix)));
        let start = usize::try_from(anywhere).unwrap_or(0).checked_rem(names.len()).unwrap_or(0);
        for name in names.iter().cycle().skip(start).take(LOOKED_AT.min(names.len())) {
            if matches!(life(&inside.folder, name)?, Life::Dead) {
                inside.folder.remove(name)?;
            }
        }
        Ok(())
    }

    fn memberships(&self) -> MutexGuard<'_, HashMap<(Name, Name), Membership>> {
        self.memberships.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(enrolment: &Enrolment) -> (Name, Name) {
    (enrolment.group.clone(), enrolment.member.clone())
}

pub(crate) fn member_file(member: &Name) -> String {
    format!("m-{}", Segment::of(member).as_str())
}

#[async_trait]
impl GroupSteps for Groups {
    async fn create(&self, group: &Name) -> Result<Created> {
        self.session.check()?;
        let (groups, segment) = (&self.session.root.groups, Segment::of(group));
        for _ in 0..8 {
            if self.find(group)?.is_some() {
                return Ok(Created::Existed);
            }
            let files: &[(&str, &[u8])] = &[(GATE, b""), (NAME, group.as_str().as_bytes())];
            if self.session.build(groups, segment.as_str(), files)? {
                return Ok(Created::New);
            }
            // Just made by somebody else, or somebody took its gate away by hand: one that is deleted goes as a whole.
            let Some(folder) = groups.sub(segment.as_str())? else { continue };
            match folder.create(GATE) {
                Ok(_) if self.find(group)?.is_some() => return Ok(Created::New),
                Err(error) if error.kind() != ErrorKind::Unavailable => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        let text = format!("somebody keeps changing {:?} by hand", groups.path_of(segment.as_str()));
        Err(Error::new(ErrorKind::Unavailable, text))
    }

    async fn delete(&self, group: &Name) -> Result<Deleted> {
        self.session.check()?;
        let Some(inside) = self.enter(group).await? else { return Ok(Deleted::Missing) };
        for name in inside.folder.names()?.iter().filter(|name| name.starts_with("m-")) {
            if matches!(life(&inside.folder, name)?, Life::Alive(_)) {
                return Ok(Deleted::NotEmpty);
            }
        }
        let gone = self.session.demolish(&self.session.root.groups, Segment::of(group).as_str())?;
        Ok(if gone { Deleted::Gone } else { Deleted::Missing })
    }

    async fn list(&self) -> Result<Vec<Name>> {
        self.session.check()?;
        let mut groups = Vec::new();
        for segment in self.session.root.groups.again()?.names()? {
            match read_segment(&segment) {
                Reading::Spelled(name) => match self.find(&name) {
                    Ok(folder) => groups.extend(folder.map(|_| name)),
                    // Planted by somebody: it hides no other.
                    Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Denied) => {}
                    Err(error) => return Err(error),
                },
                Reading::Hashed => groups.extend(self.written_name(&segment)),
                Reading::Foreign => {}
            }
        }
        Ok(groups)
    }

    async fn join(&self, enrolment: &Enrolment) -> Result<Joined> {
        self.session.check()?;
        let Some(inside) = self.enter(&enrolment.group).await? else { return Ok(Joined::NoGroup) };
        let name = member_file(&enrolment.member);
        if self.stands(&inside.folder, enrolment)? {
            return Ok(Joined::Done);
        }
        if let Life::Alive(file) = life(&inside.folder, &name)? {
            let session = Record::read(&file).map(|record| record.session);
            if session.is_none() || session != enrolment.replaces {
                return Ok(Joined::Taken);
            }
        }
        let joined_us = wall_us();
        let draft = self.session.draft(&enrolment.member, &enrolment.capabilities, joined_us)?;
        let file = draft.place(&inside.folder, &name)?;
        self.memberships().insert(key(enrolment), Membership { file, joined_us });
        // Closed while this was on its way: nobody would leave for us.
        if let Err(error) = self.session.check() {
            self.memberships().remove(&key(enrolment));
            inside.folder.remove(&name)?;
            return Err(error);
        }
        // Housekeeping: that it failed is no news about the membership.
        let _ = Self::bury_some(&inside, joined_us);
        Ok(Joined::Done)
    }

    async fn leave(&self, enrolment: &Enrolment) -> Result<Left> {
        self.session.check()?;
        if enrolment.session != self.session.id {
            return Ok(Left::Absent);
        }
        self.forsake(&enrolment.group, &enrolment.member).await
    }

    async fn update(&self, enrolment: &Enrolment) -> Result<Updated> {
        self.session.check()?;
        let Some(inside) = self.enter(&enrolment.group).await? else { return Ok(Updated::Absent) };
        if enrolment.session != self.session.id || !self.stands(&inside.folder, enrolment)? {
            return Ok(Updated::Absent);
        }
        let joined_us = self.memberships().get(&key(enrolment)).map(|membership| membership.joined_us);
        let joined_us = joined_us.unwrap_or_else(wall_us);
        let draft = self.session.draft(&enrolment.member, &enrolment.capabilities, joined_us)?;
        // The old file is closed after the new one stands, so that nobody sees the member gone.
        let file = draft.replace(&inside.folder, &member_file(&enrolment.member))?;
        self.memberships().insert(key(enrolment), Membership { file, joined_us });
        Ok(Updated::Done)
    }

    async fn members(&self, group: &Name) -> Result<Option<RosterFact>> {
        self.session.check()?;
        self.look(group)
    }

    async fn stirred(&self, group: &Name, mark: Option<Mark>) {
        tokio::select! {
            () = self.stirred_since(group, mark) => {}
            _ = self.session.ended() => {}
        }
    }

    async fn expelled(&self, enrolment: &Enrolment) {
        tokio::select! {
            () = self.keep_watch(enrolment) => {}
            _ = self.session.ended() => {}
        }
    }
}

impl Groups {
    /// The name of a group whose folder's name is a hash, if it is written down as it should be.
    fn written_name(&self, segment: &str) -> Option<Name> {
        use std::os::unix::fs::FileExt;
        let folder = self.session.root.groups.sub(segment).ok().flatten()?;
        let file = folder.look(NAME).ok().flatten()?;
        let mut bytes = [0; tooz_core::MAX_NAME_BYTES + 1];
        let length = file.read_at(&mut bytes, 0).ok()?;
        let name = Name::new(std::str::from_utf8(bytes.get(..length)?).ok()?).ok()?;
        (Segment::of(&name).as_str() == segment).then_some(name)
    }
}
