//! What a GPU answered: the file beside a program that says `recorded`.
//!
//! ```text
//! # NVIDIA H200, driver 13.0
//! program 0123456789abcdef
//! run 0 sum 0123456789abcdef
//! y bytes 8 0123456789abcdef
//! 0000803f00000040
//! ```
//!
//! `program` is the hash of the PTX text and the last number of a `run` line that of everything that went into it, so
//! that an answer to another question is never taken for one to this. The bytes of each argument stand in hexadecimal
//! under its name, length and hash; long ones only up to [`Answers::KEPT`] bytes, the hash covers them whole.

use std::fmt::Write as _;

use super::{Argument, CorpusError, Run};

/// FNV-1a of 64 bits.
pub fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// What came out of one argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Number of the run in its file, from 0.
    pub run: usize,
    /// [`Run::fingerprint`].
    pub fingerprint: u64,
    /// Name of the argument.
    pub name: String,
    /// How many bytes it has.
    pub len: usize,
    /// [`fnv`] of all of them.
    pub hash: u64,
    /// All of them, or the first ones.
    pub bytes: Vec<u8>,
}

/// Every answer to the runs of one program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Whose answers they are.
    pub device: String,
    /// [`fnv`] of the PTX text.
    pub program: u64,
    /// In the order of runs and arguments.
    pub answers: Vec<Answer>,
}

impl Answers {
    /// Bytes of one argument that are kept, unless a tolerance needs all of them.
    pub const KEPT: usize = 16 << 10;

    /// Adds what a run's argument held behind the launch.
    pub fn add(&mut self, index: usize, run: &Run, argument: &Argument, bytes: &[u8]) {
        let exact = argument.tolerance.is_none() && argument.absolute.is_none();
        let kept = if exact { bytes.len().min(Answers::KEPT) } else { bytes.len() };
        self.answers.push(Answer {
            run: index,
            fingerprint: run.fingerprint(),
            name: argument.name.clone(),
            len: bytes.len(),
            hash: fnv(bytes),
            bytes: bytes[..kept].to_vec(),
        });
    }

    /// Compares what came out with the answer: the first difference, in words.
    pub fn difference(&self, index: usize, run: &Run, argument: &Argument, actual: &[u8]) -> Option<String> {
        let name = &argument.name;
        let Some(answer) = self.answers.iter().find(|answer| answer.run == index && answer.name == *name)
        else {
            return Some(format!("no answer is recorded for `{name}`"));
        };
        if answer.fingerprint != run.fingerprint() {
            return Some(format!("the answer recorded for `{name}` is to another run line"));
        }
        if answer.len != actual.len() {
            return Some(format!("`{name}` has {} bytes, {} were recorded", actual.len(), answer.len));
        }
        if let Some(difference) = argument.difference_from(&actual[..answer.bytes.len()], &answer.bytes) {
            return Some(difference);
        }
        (answer.bytes.len() < actual.len() && fnv(actual) != answer.hash)
            .then(|| format!("`{name}` differs behind its first {} bytes", answer.bytes.len()))
    }

    /// Reads a file of answers.
    ///
    /// # Errors
    /// The first line that does not read.
    pub fn read(text: &str) -> Result<Answers, CorpusError> {
        let mut answers = Answers::default();
        let mut run = None;
        for (index, line) in text.lines().enumerate() {
            let wrong =
                || CorpusError { line: index + 1, message: format!("`{line}` is no line of answers") };
            let number = |word: &str| u64::from_str_radix(word, 16).map_err(|_| wrong());
            if let Some(device) = line.strip_prefix("# ") {
                answers.device = device.to_owned();
                continue;
            }
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["program", hash] => answers.program = number(hash)?,
                ["run", at, _, fingerprint] => {
                    run = Some((at.parse().map_err(|_| wrong())?, number(fingerprint)?));
                }
                [name, _, len, hash] => {
                    let (run, fingerprint) = run.ok_or_else(wrong)?;
                    answers.answers.push(Answer {
                        run,
                        fingerprint,
                        name: name.to_owned(),
                        len: len.parse().map_err(|_| wrong())?,
                        hash: number(hash)?,
                        bytes: Vec::new(),
                    });
                }
                [hex] => {
                    let answer = answers.answers.last_mut().ok_or_else(wrong)?;
                    if !hex.is_ascii() {
                        return Err(wrong());
                    }
                    for at in (0..hex.len()).step_by(2) {
                        let digits = hex.get(at..at + 2).ok_or_else(wrong)?;
                        answer.bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
                    }
                }
                _ => return Err(wrong()),
            }
        }
        Ok(answers)
    }

    /// The file's text.
    pub fn write(&self, runs: &[Run]) -> String {
        let mut text = format!("# {}\nprogram {:016x}\n", self.device, self.program);
        let mut last = None;
        for answer in &self.answers {
            if last != Some(answer.run) {
                last = Some(answer.run);
                let entry = runs.get(answer.run).and_then(|run| run.entry.as_deref()).unwrap_or("-");
                let _ = writeln!(text, "run {} {entry} {:016x}", answer.run, answer.fingerprint);
            }
            let _ = writeln!(text, "{} bytes {} {:016x}", answer.name, answer.len, answer.hash);
            for row in answer.bytes.chunks(64) {
                for byte in row {
                    let _ = write!(text, "{byte:02x}");
                }
                text.push('\n');
            }
        }
        text
    }
}
