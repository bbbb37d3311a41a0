//! The search's side of one worker.

use std::time::Duration;

use factory_spec::BoundSpec;

use super::connection::{Connection, ConnectionError};
use super::frame::FrameError;
use super::launcher::Launcher;
use super::protocol::{About, Device, MARKER, Reply, Request, VERSION};
use super::shipped::ShippedSpec;
use crate::gpu::Judge;

/// What a worker may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerLimits {
    /// Until it has its device. Launchers may have to wait for a machine.
    pub start: Duration,
    /// From one sign of life to the next. A worker gives one before each candidate.
    pub answer: Duration,
    /// Bytes of memory of its own; `None`: no limit.
    pub memory: Option<u64>,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self { start: Duration::from_secs(120), answer: Duration::from_secs(60), memory: Some(32 << 30) }
    }
}

/// Why there is no reply.
#[derive(Debug)]
pub(super) enum Lost {
    /// It could not be started.
    NotStarted(String),
    /// It gave no answer in time and was killed.
    Hung {
        /// The candidate that ran then.
        at: Option<usize>,
    },
    /// It died, or what it says cannot be understood.
    Died {
        /// The candidate that ran then.
        at: Option<usize>,
        /// How.
        message: String,
    },
    /// It lives and says that it cannot do it.
    Failed(String),
}

/// One worker that is running.
pub(super) struct Worker {
    connection: Connection<Reply>,
    pub(super) about: About,
    /// Key of the spec that it has.
    spec: Option<String>,
    limits: WorkerLimits,
}

impl Worker {
    /// Starts one and waits until it has its device.
    pub(super) fn start(launcher: &Launcher, limits: WorkerLimits) -> Result<Worker, String> {
        let mut connection =
            Connection::<Reply>::start_after(launcher, MARKER).map_err(|error| error.to_string())?;
        let about = match connection.receive(limits.start).map_err(|error| error.to_string())? {
            Reply::Ready(about) => about,
            Reply::Failed(message) => return Err(message),
            _ => return Err(format!("`{launcher}` did not say what it is")),
        };
        let (protocol, version) = (VERSION, env!("CARGO_PKG_VERSION"));
        if about.protocol != protocol || about.version != version {
            return Err(format!(
                "`{launcher}` is version {} (protocol {}), and this is {version} (protocol {protocol}); both must be the same",
                about.version, about.protocol
            ));
        }
        Ok(Worker { connection, about, spec: None, limits })
    }

    /// The host, and the GPU's place on its bus.
    pub(super) fn place(&self) -> (String, Option<String>) {
        let bus = match &self.about.device {
            Device::Machine { .. } => None,
            Device::Gpu { bus, .. } => Some(bus.clone()),
        };
        (self.about.host.clone(), bus)
    }

    /// Asks for something and answers what is asked back.
    pub(super) fn ask(
        &mut self,
        spec: &BoundSpec,
        request: &Request,
        judge: Option<&dyn Judge>,
    ) -> Result<Reply, Lost> {
        let key = spec.key().to_string();
        if self.spec.as_ref() != Some(&key) {
            let shipped = ShippedSpec::new(spec).map_err(|error| Lost::Failed(error.to_string()))?;
            self.spec = None;
            match self.exchange(&Request::Spec(shipped), None)? {
                Reply::Accepted => self.spec = Some(key),
                _ => return Err(out_of_turn(None)),
            }
        }
        self.exchange(request, judge)
    }

    fn exchange(&mut self, request: &Request, judge: Option<&dyn Judge>) -> Result<Reply, Lost> {
        let mut at = None;
        self.say(request, at)?;
        loop {
            let reply = self.connection.receive(self.limits.answer).map_err(|error| match error {
                ConnectionError::TimedOut { .. } => Lost::Hung { at },
                other => Lost::Died { at, message: other.to_string() },
            })?;
            let answer = match (reply, judge) {
                (Reply::At(candidate), _) => {
                    at = Some(candidate);
                    continue;
                }
                (Reply::Failed(message), _) => return Err(Lost::Failed(message)),
                (Reply::Ask(questions), Some(judge)) => Request::Answers(judge.ask(questions)),
                (Reply::Open { number, inputs }, Some(judge)) => Request::Opened(judge.open(number, &inputs)),
                (Reply::Agree(windows), Some(judge)) => Request::Agrees(judge.agree(windows)),
                (Reply::Ask(_) | Reply::Open { .. } | Reply::Agree(_) | Reply::Ready(_), _) => {
                    return Err(out_of_turn(at));
                }
                (reply, _) => return Ok(reply),
            };
            self.say(&answer, at)?;
        }
    }

    fn say(&self, request: &Request, at: Option<usize>) -> Result<(), Lost> {
        let lost = |error: FrameError| Lost::Died { at, message: error.to_string() };
        self.connection.send(request).map_err(lost)
    }
}

fn out_of_turn(at: Option<usize>) -> Lost {
    Lost::Died { at, message: "the worker said something that it was not asked for".to_owned() }
}
