//! `cargo factory watch`: follow a search by its log, while it runs or afterwards.

use crate::arguments::Watch;
use crate::error::Error;
use crate::print::Output;
use crate::progress::Progress;
use crate::watched::Watched;
use factory_build::cache::Cache;
use factory_search::log::{FORMAT, LogEvent, LogOutcome, LogRead, LogReader, newest};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

/// How often a log is looked at. A person sees no difference, and it costs nothing.
const PAUSE: Duration = Duration::from_millis(150);

pub(crate) fn run(watch: &Watch, output: Output) -> Result<ExitCode, Error> {
    let path = match &watch.log {
        Some(path) => path.clone(),
        None => wait_for_newest(watch)?,
    };
    let reader = LogReader::open(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    if watch.log.is_none() {
        eprintln!("{}", path.display());
    }
    let mut follow = Follow {
        path: &path,
        reader,
        json: output.json,
        watched: Watched::default(),
        live: None,
        understood: 0,
        broken: None,
    };
    match follow.run(watch.once) {
        // Who read along has gone, as `head` does: there is nobody left to tell anything.
        Err(Stop::NobodyListens) => Ok(ExitCode::SUCCESS),
        Err(Stop::Error(error)) => Err(error),
        Ok(code) => Ok(code),
    }
}

fn wait_for_newest(watch: &Watch) -> Result<PathBuf, Error> {
    let folder = Cache::of_user().ok_or(Error::NoCache)?.logs();
    let patience =
        Instant::now() + Duration::try_from_secs_f64(watch.wait.clamp(0.0, 1e6)).unwrap_or_default();
    loop {
        if let Some(path) = newest(&folder) {
            return Ok(path);
        }
        if Instant::now() >= patience {
            return Err(Error::NoLog { folder });
        }
        thread::sleep(PAUSE);
    }
}

/// Why following stopped before its end.
enum Stop {
    NobodyListens,
    Error(Error),
}

struct Follow<'a> {
    path: &'a Path,
    reader: LogReader,
    json: bool,
    watched: Watched,
    /// The display on a terminal
    live: Option<Progress>,
    understood: u64,
    /// The first line that made no sense
    broken: Option<(u64, String)>,
}

impl Follow<'_> {
    fn run(&mut self, once: bool) -> Result<ExitCode, Stop> {
        let state = loop {
            // Asked first: whatever was written before the writer went is then read below.
            let written = self.reader.is_written();
            let more = self.read(!once)?;
            if self.watched.end.is_some() {
                break "ended";
            }
            if written == Some(false) {
                break "killed: its process is gone and wrote no end,";
            }
            if once {
                break "running,";
            }
            if !more {
                thread::sleep(PAUSE);
            }
        };
        if let Some(live) = self.live.take() {
            live.finish();
        }
        if self.understood == 0 {
            let (line, message) = self.broken.take().unwrap_or((1, "it is empty".to_owned()));
            return Err(Stop::Error(Error::NotALog { path: self.path.to_owned(), line, message }));
        }
        if self.reader.unfinished() > 0 && state != "running," {
            eprintln!("warning: the last line of `{}` is cut off", self.path.display());
        }
        if !self.json {
            self.say(self.watched.text(state).trim_end())?;
        }
        Ok(match (&self.watched.end, state) {
            (Some(LogOutcome::Failed { .. }), _) => ExitCode::FAILURE,
            (None, state) if state.starts_with("killed") => ExitCode::FAILURE,
            _ => ExitCode::SUCCESS,
        })
    }

    /// Takes in what came; whether there was anything.
    fn read(&mut self, following: bool) -> Result<bool, Stop> {
        let lines = self
            .reader
            .read()
            .map_err(|source| Stop::Error(Error::Read { path: self.path.to_owned(), source }))?;
        let any = !lines.is_empty();
        for line in lines {
            let (text, line) = match line {
                LogRead::Line { text, line } => (text, line),
                LogRead::Broken { number, message } => {
                    eprintln!("warning: line {number} of `{}` is left out: {message}", self.path.display());
                    self.broken.get_or_insert((number, message));
                    continue;
                }
                _ => continue,
            };
            self.understood += 1;
            if let LogEvent::Start(start) = &line.event {
                if start.format > FORMAT {
                    eprintln!(
                        "warning: `{}` is of a newer version ({}); what this one does not know is left out",
                        self.path.display(),
                        start.version
                    );
                }
                if following && !self.json && io::stderr().is_terminal() {
                    let mut live = Progress::new(&start.kernel, false);
                    live.budget(start.seconds.map(|seconds| seconds - age(line.time)));
                    self.live = Some(live);
                }
            }
            self.watched.hear(&line);
            if self.json {
                self.say(&text)?;
            } else if let Some(live) = &mut self.live {
                live.hear(&line.event);
            } else if following && let Some(words) = self.watched.line(&line) {
                self.say(&words)?;
            }
        }
        Ok(any)
    }

    fn say(&self, text: &str) -> Result<(), Stop> {
        let mut out = io::stdout().lock();
        match writeln!(out, "{text}").and_then(|()| out.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Stop::NobodyListens),
            Err(source) => Err(Stop::Error(Error::Write { path: PathBuf::from("standard output"), source })),
        }
    }
}

/// Seconds since a time of a log.
fn age(time: f64) -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (now.as_secs_f64() - time).max(0.0)
}
