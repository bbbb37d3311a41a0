//! A child process that answers messages, and a watchdog over it.
//!
//! Pipes are read and written by threads of their own: a child that neither reads nor writes blocks nobody, however large the
//! messages are, and the wait for an answer always ends at its limit. The child leads a process group; all of it is killed.

use std::io::Read;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::frame::{self, FrameError};
use super::launcher::Launcher;

/// Bytes of standard error that are kept for messages.
const TAIL: usize = 2000;
/// How long a process of this machine may take to end when it is told to.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long a process that closed its pipes may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The launcher cannot be run.
    #[error("`{launcher}` cannot be started: {message}")]
    Start {
        /// The command line.
        launcher: String,
        /// Why.
        message: String,
    },
    /// The process ended, or what it says is no message.
    #[error("`{launcher}` gave no answer: {cause}; {status}{}", quoted(.stderr))]
    Lost {
        /// The command line.
        launcher: String,
        /// What was wrong with its last message.
        cause: FrameError,
        /// How it ended.
        status: String,
        /// The end of its standard error.
        stderr: String,
    },
    /// No answer came in time; the process group was killed.
    #[error("`{launcher}` gave no answer within {} s and was killed{}", .limit.as_secs_f64(), quoted(.stderr))]
    TimedOut {
        /// The command line.
        launcher: String,
        /// The limit.
        limit: Duration,
        /// The end of its standard error.
        stderr: String,
    },
}

fn quoted(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!("; its standard error ends with:\n{stderr}") }
}

/// A running child that answers with messages of type `T`.
pub struct Connection<T> {
    launcher: String,
    child: Child,
    /// How long it may take to end when it is told to.
    patience: Duration,
    requests: Option<mpsc::Sender<Vec<u8>>>,
    answers: mpsc::Receiver<Result<T, FrameError>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    errors: Option<JoinHandle<()>>,
}

impl<T: DeserializeOwned + Send + 'static> Connection<T> {
    /// Starts the child.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(launcher: &Launcher) -> Result<Connection<T>, ConnectionError> {
        Self::start_after(launcher, &[])
    }

    /// Starts the child, whose messages begin behind a marker.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_after(launcher: &Launcher, marker: &'static [u8]) -> Result<Connection<T>, ConnectionError> {
        let mut command = launcher.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let failed = |message: String| ConnectionError::Start { launcher: launcher.to_string(), message };
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(mut stdout), Some(mut errors)) = pipes else {
            let _ = child.kill();
            return Err(failed("it has no pipes".to_owned()));
        };
        let (requests, queued) = mpsc::channel::<Vec<u8>>();
        std::thread::spawn(move || {
            for bytes in queued {
                // A child that is gone shows where its answer is read.
                if std::io::Write::write_all(&mut stdin, &bytes).is_err() {
                    return;
                }
            }
        });
        let (send, answers) = mpsc::channel();
        std::thread::spawn(move || {
            let mut stdout = std::io::BufReader::with_capacity(1 << 16, &mut stdout);
            if !marker.is_empty()
                && let Err(error) = frame::pass(&mut stdout, marker)
            {
                let _ = send.send(Err(error));
                return;
            }
            loop {
                let message = frame::read::<T>(&mut stdout);
                let last = message.is_err();
                if send.send(message).is_err() || last {
                    return;
                }
            }
        });
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&stderr);
        let errors = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = errors.read(&mut buffer) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&buffer[..read]);
                let surplus = kept.len().saturating_sub(TAIL);
                kept.drain(..surplus);
            }
        });
        Ok(Connection {
            launcher: launcher.to_string(),
            child,
            patience: if launcher.words.is_empty() { PATIENCE } else { GRACE },
            requests: Some(requests),
            answers,
            stderr,
            errors: Some(errors),
        })
    }

    /// Queues a message.
    ///
    /// # Errors
    /// It is too long.
    pub fn send(&self, message: &impl Serialize) -> Result<(), FrameError> {
        let mut bytes = Vec::new();
        frame::write(&mut bytes, message)?;
        if let Some(requests) = &self.requests {
            // As above: a child that is gone shows where its answer is read.
            let _ = requests.send(bytes);
        }
        Ok(())
    }

    /// Waits for the next message; when none comes in time the process group is killed.
    ///
    /// # Errors
    /// The child hangs, died or says something else.
    pub fn receive(&mut self, limit: Duration) -> Result<T, ConnectionError> {
        let cause = match self.answers.recv_timeout(limit) {
            Ok(Ok(message)) => return Ok(message),
            Ok(Err(cause)) => cause,
            Err(RecvTimeoutError::Disconnected) => FrameError::Closed,
            Err(RecvTimeoutError::Timeout) => {
                self.kill();
                let (launcher, stderr) = (self.launcher.clone(), self.tail());
                return Err(ConnectionError::TimedOut { launcher, limit, stderr });
            }
        };
        let status = self.ended();
        let (launcher, stderr) = (self.launcher.clone(), self.tail());
        Err(ConnectionError::Lost { launcher, cause, status, stderr })
    }

    /// How the child ended; one that lives on is killed.
    fn ended(&mut self) -> String {
        let until = Instant::now() + GRACE;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return format!("it ended with {status}"),
                Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
                _ => {
                    self.kill();
                    return "it was still running and was killed".to_owned();
                }
            }
        }
    }
}

impl<T> Connection<T> {
    /// The child's process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process group and waits for the child: politely first, so that a launcher ends what it started elsewhere.
    fn kill(&mut self) {
        // Once it was waited for, its number may be another process's.
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        #[cfg(unix)]
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            use rustix::process::{Signal, kill_process_group};
            // The group may be gone already.
            let _ = kill_process_group(group, Signal::TERM);
            let until = Instant::now() + self.patience;
            while Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(1));
            }
            // Not all that is in the group need have ended with the child.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.kill();
        // A driver may hold a process that was killed for as long as it likes: nobody waits for that for ever.
        let until = Instant::now() + GRACE;
        while Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The end of standard error, once the child is gone.
    fn tail(&mut self) -> String {
        // A grandchild that left the group may hold the pipe: wait for the rest only for a while.
        let until = Instant::now() + GRACE;
        while self.errors.as_ref().is_some_and(|thread| !thread.is_finished()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.errors = None;
        let kept = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).trim().to_owned()
    }
}

impl<T> Drop for Connection<T> {
    fn drop(&mut self) {
        self.requests = None;
        self.kill();
    }
}
