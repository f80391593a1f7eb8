//! Publishing: one transaction, whoever else publishes, unless the bucket was closed meanwhile.

use std::future::{Future, ready};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;
use tooz_core::backend::Publication;
use tooz_core::{Error, ErrorKind, Incarnation, Offset, Result};
use zookeeper_client::{
    Client, CreateMode, CreateOptions, Error as Fault, MultiWriteError, MultiWriteResult,
};

use crate::channel::{Bucket, ChannelKeys, place_of};
use crate::entry::{Entry, Head, PART};
use crate::error::{failed, unread};
use crate::find::find;
use crate::guess::{Guess, Manner, Next, Way};
use crate::session::Session;
use crate::standing::{damaged, look, place};

/// Attempts of one step. Each that fails means that others closed or opened a bucket meanwhile.
const ATTEMPTS: usize = 16;

/// A turn on the way of a channel.
type Turn = BoxFuture<'static, OwnedMutexGuard<Option<Way>>>;

/// Appends the message, or finds it. The caller may stand still for as long as it likes: who waits for its turn, or lets
/// others wait, does so in a task.
pub(crate) async fn publish(
    session: &Arc<Session>,
    guess: &Arc<Guess>,
    publication: &Publication,
) -> Result<Offset> {
    let work = Work {
        client: session.client()?,
        keys: ChannelKeys::of(&session.keys, &publication.channel),
        publication: publication.clone(),
        entry: Entry::of(publication),
        persistent: CreateMode::Persistent.with_acls(session.acls),
        sequential: CreateMode::PersistentSequential.with_acls(session.acls),
    };
    let (turn, wrong) = match Arc::clone(&guess.way).try_lock_owned() {
        Ok(way) => match guess.next(*way).filter(|next| next.manner != Manner::Closing) {
            Some(next) => match work.attempt(guess, way, Some(next)).await? {
                (Outcome::Done(offset), _) => return Ok(offset),
                (_, bucket) => (turn(guess), Some(bucket)),
            },
            None => (ready(way).boxed(), None),
        },
        Err(_) => (turn(guess), None),
    };
    let (patience, insisting) = (session.timeout, work.insist(Arc::clone(guess), turn, wrong));
    // With a timer of the runtime that it is on.
    match session.runtime.spawn(async move { timeout(patience, insisting).await }).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(Error::new(ErrorKind::Unavailable, "no answer in time").effect_unknown()),
        Err(_) => {
            let text = "the runtime that opened the session has ended";
            Err(Error::new(ErrorKind::Unavailable, text).effect_unknown())
        }
    }
}

/// The next turn, in the order of the calls.
fn turn(guess: &Guess) -> Turn {
    let mut turn = Arc::clone(&guess.way).lock_owned().boxed();
    match turn.as_mut().now_or_never() {
        Some(way) => ready(way).boxed(),
        None => turn,
    }
}

/// What an attempt came to.
enum Outcome {
    Done(Offset),
    /// The bucket was another one.
    Again,
    /// Something stands where the channel or a bucket was to be made: somebody else's, if it stays so.
    InTheWay,
}

/// What an operation of the transaction is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Bucket,
    Id,
    Message,
    Count,
    Part,
}

impl Manner {
    fn operation(self, index: usize) -> Operation {
        use Operation::{Bucket, Count, Id, Message, Part};
        let order = match self {
            Self::Opening(_) => [Count, Id, Bucket, Message],
            _ => [Bucket, Id, Message, Count],
        };
        order.get(index).copied().unwrap_or(Part)
    }
}

/// One message on its way.
struct Work {
    client: Arc<Client>,
    keys: ChannelKeys,
    publication: Publication,
    entry: Entry,
    persistent: CreateOptions<'static>,
    sequential: CreateOptions<'static>,
}

type Written = Result<Vec<MultiWriteResult>, MultiWriteError>;
type Created = Result<(), Fault>;

impl Work {
    /// Attempts it until it succeeds, after an attempt that found another bucket than this one.
    async fn insist(self, guess: Arc<Guess>, mut turn: Turn, mut wrong: Option<Bucket>) -> Result<Offset> {
        let mut error = crowded();
        for _ in 0..ATTEMPTS {
            let mut way = turn.await;
            if let Some(bucket) = wrong {
                guess.forget(&mut way, bucket);
            }
            let next = guess.next(*way);
            match self.attempt(&guess, way, next).await? {
                (Outcome::Done(offset), _) => return Ok(offset),
                (Outcome::Again, bucket) => (error, wrong) = (crowded(), Some(bucket)),
                (Outcome::InTheWay, bucket) => (error, wrong) = (damaged(), Some(bucket)),
            }
            turn = self::turn(&guess);
        }
        Err(error)
    }

    /// Sends everything at once, so that what comes next is not held up by the answer, unless it closes the bucket. Tells
    /// as well which bucket it was.
    async fn attempt(
        &self,
        guess: &Guess,
        mut way: OwnedMutexGuard<Option<Way>>,
        next: Option<Next>,
    ) -> Result<(Outcome, Bucket)> {
        *way = None;
        let next = match next {
            Some(next) => Some(next),
            None => {
                let standing = look(&self.client, &self.keys, None).await?;
                standing.and_then(|standing| guess.next(Some(Way::of(&standing))))
            }
        };
        let mut birth = None;
        let Next { bucket, manner, number } = match next {
            Some(next) => next,
            None => {
                let bucket = Bucket { first: 1, incarnation: Incarnation::from(self.publication.id) };
                birth = Some(self.bear(bucket)?);
                Next { bucket, manner: Manner::Plain, number: 1 }
            }
        };
        let parts = self.parts(bucket, manner)?;
        let append = self.append(bucket, manner)?;
        let held = if manner == Manner::Closing {
            Some(way)
        } else {
            *way = Some(Way::Append(bucket, number.saturating_add(1)));
            drop(way);
            None
        };

        let is_in_the_way = match birth {
            Some(birth) => self.was_born(birth.await).await?,
            None => false,
        };
        for part in parts {
            match part.await {
                // What is missing shows in the transaction.
                Ok(_) | Err(Fault::NodeExists | Fault::NoNode | Fault::BadVersion) => {}
                Err(fault) => return Err(failed("write a body", fault)),
            }
        }
        let fault = match append.await {
            Ok(results) => {
                let (offset, version) = appended(bucket, &results)?;
                guess.appended(bucket, offset.number());
                if let Some(mut way) = held {
                    let next = Bucket { first: offset.number().saturating_add(1), ..bucket };
                    *way = Some(Way::Open(next, version));
                }
                return Ok((Outcome::Done(offset), bucket));
            }
            Err(fault) => fault,
        };
        drop(held);
        let outcome = self.refused(bucket, manner, fault).await?;
        Ok((if is_in_the_way { Outcome::InTheWay } else { outcome }, bucket))
    }

    /// What it means that the transaction failed.
    async fn refused(&self, bucket: Bucket, manner: Manner, fault: MultiWriteError) -> Result<Outcome> {
        use Operation::{Bucket as Directory, Count, Id, Message};
        let MultiWriteError::OperationFailed { index, source } = fault else {
            return Err(failed("append a message", fault.into()));
        };
        match (manner.operation(index), source) {
            (Id, Fault::NodeExists) => {
                find(&self.client, &self.keys, self.publication.id).await?.map_or(Ok(Outcome::Again), done)
            }
            // Somebody else's node has the name that the server would give: the next bucket has none such.
            (Message, Fault::NodeExists) => match self.close(bucket).await {
                Ok(_) | Err(Fault::BadVersion | Fault::NoNode) => Ok(Outcome::Again),
                Err(fault) => Err(failed("close a bucket", fault)),
            },
            (Directory, Fault::NodeExists) => Ok(Outcome::InTheWay),
            (Directory | Count, Fault::BadVersion) => Ok(Outcome::Again),
            (Directory, Fault::NoNode) if !matches!(manner, Manner::Opening(_)) => Ok(Outcome::Again),
            (Count, Fault::NoNode) if matches!(manner, Manner::Opening(_)) => Ok(Outcome::Again),
            (_, Fault::NoNode) => Err(damaged()),
            (_, fault) => Err(failed("append a message", fault)),
        }
    }

    /// Makes the channel, with an empty bucket.
    fn bear(&self, bucket: Bucket) -> Result<impl Future<Output = Written> + Send + '_> {
        let (keys, options) = (&self.keys, &self.persistent);
        let (name, head) = (bucket.to_string(), Head::START.encode(bucket.incarnation));
        let mut writer = self.client.new_multi_writer();
        let nodes: [(&str, &str); 7] = [
            (keys.root(), ""),
            (&keys.count(), &name),
            (&keys.head(), &head),
            (&keys.ids(), ""),
            (&keys.buckets(), ""),
            (&keys.bodies(), ""),
            (&keys.bucket(bucket), ""),
        ];
        for (path, data) in nodes {
            writer
                .add_create(path, data.as_bytes(), options)
                .map_err(|fault| failed("make a channel", fault))?;
        }
        Ok(writer.commit())
    }

    /// Whether something is in the way of the channel. Its parent is made where it is missing.
    async fn was_born(&self, birth: Written) -> Result<bool> {
        match birth {
            Ok(_) => Ok(false),
            Err(MultiWriteError::OperationFailed { index: 0, source: Fault::NoNode }) => {
                let made = self.client.mkdir(self.keys.parent(), &self.persistent).await;
                made.map_err(|fault| failed("make a directory of channels", fault))?;
                Ok(false)
            }
            Err(MultiWriteError::OperationFailed { source: Fault::NodeExists, .. }) => Ok(true),
            Err(fault) => Err(failed("make a channel", fault.into())),
        }
    }

    /// Writes a large body beside. Nobody looks there before the message stands, which it only does where all parts do;
    /// and their place is only made where the bucket is, or is about to be: it goes with it.
    fn parts(
        &self,
        bucket: Bucket,
        manner: Manner,
    ) -> Result<Vec<impl Future<Output = Created> + Send + '_>> {
        if self.entry.parts() == 0 {
            return Ok(Vec::new());
        }
        let (keys, id) = (&self.keys, self.publication.id);
        let stands = match manner {
            Manner::Opening(version) => (keys.count(), version),
            Manner::Plain | Manner::Closing => (keys.bucket(bucket), -1),
        };
        let unwritten = |fault| failed("write a body", fault);
        let make = |stands, path: String, data: &[u8]| {
            create(&self.client, stands, &path, data, &self.persistent).map_err(unwritten)
        };
        let mut all = vec![make(Some(stands), keys.parts(bucket), b"")?];
        for (number, part) in self.publication.body.chunks(PART).enumerate() {
            all.push(make(None, keys.part(bucket, id, number), part)?);
        }
        Ok(all)
    }

    /// The count, the id and the message, all or none.
    fn append(&self, bucket: Bucket, manner: Manner) -> Result<impl Future<Output = Written> + Send + '_> {
        let (keys, id, name) = (&self.keys, self.publication.id, bucket.to_string());
        let mut writer = self.client.new_multi_writer();
        let (directory, count) = (keys.bucket(bucket), keys.count());
        let mut write = || {
            match manner {
                Manner::Plain => writer.add_check_version(&directory, 0)?,
                Manner::Closing => writer.add_set_data(&directory, b"", Some(0))?,
                Manner::Opening(version) => writer.add_set_data(&count, name.as_bytes(), Some(version))?,
            }
            writer.add_create(&keys.id(id), name.as_bytes(), &self.persistent)?;
            if matches!(manner, Manner::Opening(_)) {
                writer.add_create(&directory, b"", &self.persistent)?;
            }
            writer.add_create(&keys.messages(bucket), &self.entry.encode(), &self.sequential)?;
            if !matches!(manner, Manner::Opening(_)) {
                writer.add_set_data(&count, name.as_bytes(), None)?;
            }
            (0..self.entry.parts())
                .try_for_each(|part| writer.add_check_version(&keys.part(bucket, id, part), -1))
        };
        write().map_err(|fault| failed("append a message", fault))?;
        Ok(writer.commit())
    }

    /// Closes the bucket, whatever was made in it.
    fn close(&self, bucket: Bucket) -> impl Future<Output = Result<(), Fault>> + Send + use<> {
        let closed = self.client.set_data(&self.keys.bucket(bucket), b"", Some(0));
        async move { closed.await.map(drop) }
    }
}

/// One node made, as long as another one stands and has this version; sent at once.
fn create<'a>(
    client: &'a Client,
    stands: Option<(String, i32)>,
    path: &str,
    data: &[u8],
    options: &CreateOptions<'_>,
) -> Result<impl Future<Output = Created> + Send + use<'a>, Fault> {
    let mut writer = client.new_multi_writer();
    if let Some((path, version)) = stands {
        writer.add_check_version(&path, version)?;
    }
    writer.add_create(path, data, options)?;
    let made = writer.commit();
    Ok(async move { made.await.map(drop).map_err(Fault::from) })
}

/// The offset that the answer tells, and the count's version.
fn appended(bucket: Bucket, results: &[MultiWriteResult]) -> Result<(Offset, i32)> {
    let mut made = results.iter().filter_map(|result| match result {
        MultiWriteResult::Create { path, .. } => place_of(path),
        _ => None,
    });
    let mut counted = results.iter().filter_map(|result| match result {
        MultiWriteResult::SetData { stat } => Some(stat),
        _ => None,
    });
    // Where the bucket is closed the count comes second.
    let (Some(at), Some(count)) = (made.next(), counted.next_back()) else {
        return Err(unread("read the answer of an append", Fault::MarshallingError));
    };
    Ok((Offset::new(bucket.incarnation, bucket.number(at), place(count.mzxid)), count.version))
}

fn done(offset: Offset) -> Result<Outcome> {
    Ok(Outcome::Done(offset))
}

fn crowded() -> Error {
    Error::new(ErrorKind::Unavailable, "others publish so much that the bucket was another one each time")
}
