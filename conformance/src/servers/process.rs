//! A server's process: started, watched until it is ready, killed, frozen, started again.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::Folder;

/// How long a server may take until it is ready, and until it is gone when asked to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at a server that is starting.
const LOOK: Duration = Duration::from_millis(5);
/// How much of the output is quoted when a start fails.
const QUOTED: usize = 4_000;

/// What to run, and how to see that it is ready.
pub struct Plan {
    /// The program, found along `PATH`.
    pub program: String,
    /// The Debian package it comes with: part of the sentence when it is missing.
    pub package: &'static str,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables of its environment, in addition to ours.
    pub environment: Vec<(String, String)>,
    /// The network namespace it runs in, if not this process's.
    pub namespace: Option<String>,
    /// Whether it is ready, given what it printed so far.
    pub ready: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

/// Why a process did not become ready.
#[derive(Debug)]
pub struct Failure {
    what: String,
    output: String,
}

impl Failure {
    /// Whether its port was taken by somebody else.
    pub fn is_port_taken(&self) -> bool {
        ["Address already in use", "address already in use", "BindException"]
            .iter()
            .any(|said| self.output.contains(said))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}, having printed:\n{}", self.what, self.output)
    }
}

/// A process of its own group with a folder of its own. Killed when dropped, and by the kernel when the
/// process that started it ends, however that happens.
pub struct Process {
    plan: Plan,
    running: Mutex<Option<Child>>,
    folder: Folder, // last: removed after the process was killed
}

impl Process {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// If it ends instead, or takes too long. A missing program panics: trying again would not help.
    pub fn start(folder: Folder, plan: Plan) -> Result<Self, Failure> {
        let process = Self { plan, running: Mutex::new(None), folder };
        process.launch()?;
        Ok(process)
    }

    /// Its folder: working directory, data, logs.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.running().as_ref().map(Child::id)
    }

    /// Kills it as by -9 and waits until it is gone.
    pub fn kill(&self) {
        self.end(Signal::KILL);
    }

    /// Asks it to end (TERM) and waits until it has.
    pub fn terminate(&self) {
        self.end(Signal::TERM);
    }

    /// Stops it where it is (STOP) and waits until every thread of it stands: connections stay, nothing is answered.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        super::until("every thread has stopped", || self.id().is_none_or(has_stopped));
    }

    /// Lets it go on (CONT).
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Starts it again after it was killed, with the same arguments, and waits until it is ready.
    pub fn restart(&self) {
        self.kill();
        if let Err(failure) = self.launch() {
            panic!("{failure}");
        }
    }

    /// What it printed since it was last started.
    pub fn output(&self) -> String {
        let bytes = fs::read(self.log()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn launch(&self) -> Result<(), Failure> {
        let child = spawn(self.command());
        let child = child.unwrap_or_else(|error| panic!("start {}: {error}", self.plan.program));
        *self.running() = Some(child);
        let start = Instant::now();
        while !(self.plan.ready)(&self.output()) {
            let ended = self.running().as_mut().and_then(|child| child.try_wait().ok().flatten());
            let what = match ended {
                Some(status) => format!("{} ended with {status} instead of starting", self.plan.program),
                None if start.elapsed() > PATIENCE => {
                    format!("{} was not ready after {PATIENCE:?}", self.plan.program)
                }
                None => {
                    std::thread::sleep(LOOK);
                    continue;
                }
            };
            self.kill();
            return Err(Failure { what, output: tail(&self.output()) });
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let log = File::create(self.log()).expect("a log file in a folder of our own");
        let mut command = Command::new(find("setpriv", "util-linux"));
        command.args(["--pdeathsig", "KILL", "--"]);
        if let Some(namespace) = &self.plan.namespace {
            command.arg(find("ip", "iproute2")).args(["netns", "exec", namespace]);
        }
        command.arg(find(&self.plan.program, self.plan.package));
        command.args(&self.plan.arguments).envs(self.plan.environment.iter().cloned());
        command.current_dir(self.folder.path()).stdin(Stdio::null()).process_group(0);
        command.stderr(log.try_clone().expect("a second handle of an open file")).stdout(log);
        command
    }

    fn log(&self) -> PathBuf {
        self.folder.join("output.log")
    }

    fn end(&self, signal: Signal) {
        let Some(mut child) = self.running().take() else { return };
        send(&child, Signal::CONT); // a frozen process hears nothing but KILL
        send(&child, signal);
        let start = Instant::now();
        while matches!(child.try_wait(), Ok(None)) {
            if start.elapsed() > PATIENCE {
                send(&child, Signal::KILL);
            }
            std::thread::sleep(LOOK.min(start.elapsed()));
        }
    }

    fn signal(&self, signal: Signal) {
        match self.running().as_ref() {
            Some(child) => send(child, signal),
            None => panic!("{} does not run", self.plan.program),
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl std::fmt::Debug for Process {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Process")
            .field("program", &self.plan.program)
            .field("id", &self.id())
            .finish()
    }
}

/// Whether every thread of a process is stopped; threads of a process with many stop one after the other.
fn has_stopped(process: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let states = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    // The state follows the name, which stands in parentheses and may have some of its own.
    states
        .filter_map(|stat| stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with('T')))
        .all(|stopped| stopped)
}

/// The program's path.
///
/// # Panics
/// If it is not installed, saying how it would be.
pub fn find(program: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps some servers where only root looks.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = folders.map(|folder: PathBuf| folder.join(program)).find(|path| is_program(path));
    found.unwrap_or_else(|| {
        panic!(
            "{program} is not installed: it comes with the package {package}; `conformance/test` installs it"
        )
    })
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn send(child: &Child, signal: Signal) {
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let _ = id.map(|id| kill_process_group(id, signal)); // it may be gone already
}

fn tail(text: &str) -> String {
    let start = text.len().saturating_sub(QUOTED);
    text.char_indices().find(|(at, _)| *at >= start).map_or("", |(at, _)| text.split_at(at).1).to_owned()
}

/// Starts a command on a thread that lives as long as this process. The kernel sends the signal of a
/// parent's death when the *thread* ends that started the child, and a test's own thread ends with the test.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, orders) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in orders {
                let _ = answer.send(command.spawn()); // the other side waits for it
            }
        });
        Mutex::new(sender)
    });
    let (sender, answer) = channel();
    let gone = |_| io::Error::other("the thread that starts processes has ended");
    let order = spawner.lock().unwrap_or_else(PoisonError::into_inner).send((command, sender));
    order.map_err(|_| io::Error::other("the thread that starts processes has ended"))?;
    answer.recv().map_err(gone)?
}
