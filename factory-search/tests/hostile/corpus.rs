//! Reads `tests/hostile`: candidates in PTX, each with a header in TOML behind `//:`, and the specs that they are for.

#![allow(dead_code, reason = "the tests and the example use a part of it each")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use factory_search::{Candidate, Gate, Rejection, Tunables, Verdict};
use factory_spec::{Arch, BoundSpec, LaunchPlan, ParamPlan, Scratch, SizeExpr, Spec, Variant};
use serde::Deserialize;

/// What is wrong with the corpus itself.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", path.display())]
pub(crate) struct CorpusError {
    /// The file
    path: PathBuf,
    /// What is wrong with it
    message: String,
}

/// One candidate of the corpus.
pub(crate) struct Entry {
    /// `k02/tail`
    pub(crate) name: String,
    /// The row of the catalogue, such as `K2` or `C17`.
    pub(crate) row: String,
    /// What it does, in one sentence.
    pub(crate) says: String,
    /// The name of its spec.
    pub(crate) spec: String,
    /// The candidate.
    pub(crate) candidate: Candidate,
    /// Who refuses it without a GPU; `None` for a twin, and for what only a GPU shows.
    pub(crate) refused: Option<Refusal>,
    /// Who refuses it on a GPU, where nobody does without one.
    pub(crate) device: Option<Refusal>,
    /// Why nothing refuses it: a hole that is known.
    pub(crate) open: Option<String>,
}

/// A refusal as the corpus expects it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refusal {
    /// The gate
    pub(crate) by: Gate,
    /// The reason's name in records, such as `mismatch`
    pub(crate) reason: String,
    /// The verdict
    pub(crate) verdict: Verdict,
    /// What the message has to contain
    #[serde(default)]
    pub(crate) words: String,
}

/// The reason's name in records.
pub(crate) fn reason_name(rejection: &Rejection) -> String {
    match serde_json::to_value(&rejection.reason) {
        Ok(value) => value["reason"].as_str().unwrap_or_default().to_owned(),
        Err(error) => error.to_string(),
    }
}

impl Refusal {
    /// What differs from a refusal, in words; `None` when it is the one that is expected.
    pub(crate) fn differs(&self, found: &Rejection) -> Option<String> {
        let same = found.gate == self.by
            && found.verdict == self.verdict
            && reason_name(found) == self.reason
            && found.to_string().contains(&self.words);
        (!same).then(|| {
            format!(
                "{}, {}, {} ({:?}) was expected, found {}, {}, {}: {found}",
                self.by,
                self.reason,
                self.verdict,
                self.words,
                found.gate,
                reason_name(found),
                found.verdict
            )
        })
    }
}

impl Entry {
    /// Whether it is honest.
    pub(crate) fn is_twin(&self) -> bool {
        self.refused.is_none() && self.device.is_none() && self.open.is_none()
    }
}

/// The whole corpus.
pub(crate) struct Corpus {
    /// Candidates in the order of their names.
    pub(crate) entries: Vec<Entry>,
    /// Specs by name.
    pub(crate) specs: BTreeMap<String, BoundSpec>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    row: String,
    says: String,
    spec: String,
    #[serde(default = "one")]
    when: String,
    #[serde(default = "four")]
    alignment: u32,
    #[serde(default)]
    scratch: BTreeMap<String, String>,
    launch: Vec<LaunchHeader>,
    refused: Option<Refusal>,
    device: Option<Refusal>,
    open: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LaunchHeader {
    entry: String,
    grid: Vec<String>,
    block: Vec<u32>,
    #[serde(default)]
    cluster: Vec<u32>,
    #[serde(default = "zero")]
    shared: String,
    params: Vec<String>,
}

fn zero() -> String {
    "0".to_owned()
}

fn one() -> String {
    "1".to_owned()
}

fn four() -> u32 {
    4
}

/// Where the corpus lies.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/hostile")
}

impl Corpus {
    /// Reads everything.
    ///
    /// # Errors
    /// The first file that is not as it should be.
    pub(crate) fn read() -> Result<Corpus, CorpusError> {
        let folder = folder();
        let mut specs = BTreeMap::new();
        for path in files(&folder.join("specs"), "toml")? {
            let text = read(&path)?;
            let bound = Spec::parse(&path, &text)
                .map_err(|error| wrong(&path, &error))?
                .bind(&BTreeMap::new())
                .map_err(|error| wrong(&path, &error))?;
            specs.insert(stem(&path), bound);
        }
        let mut entries = Vec::new();
        for row in folders(&folder)? {
            for path in files(&row, "ptx")? {
                entries.push(entry(&path, &stem(&row), &specs)?);
            }
        }
        Ok(Corpus { entries, specs })
    }

    /// The entries of one row or with one name.
    pub(crate) fn matching<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.name.contains(word))
    }
}

fn entry(path: &Path, row: &str, specs: &BTreeMap<String, BoundSpec>) -> Result<Entry, CorpusError> {
    let ptx = read(path)?;
    let header: String = ptx
        .lines()
        .filter_map(|line| line.strip_prefix("//:"))
        .map(|line| format!("{}\n", line.trim()))
        .collect();
    let header: Header = toml::from_str(&header).map_err(|error| wrong(path, &error))?;
    let spec = specs
        .get(&header.spec)
        .ok_or_else(|| wrong(path, &format!("there is no spec `{}` in specs/", header.spec)))?;
    let (letter, number) = header.row.split_at_checked(1).unwrap_or_default();
    if row != format!("{}{number:0>2}", letter.to_lowercase()) {
        return Err(wrong(path, &format!("row {} lies in the folder `{row}`", header.row)));
    }
    let name = format!("{row}/{}", stem(path));
    let expression = |text: &str| SizeExpr::parse(text).map_err(|error| wrong(path, &error));
    let mut launches = Vec::new();
    for launch in &header.launch {
        let mut grid = Vec::new();
        for axis in 0..3 {
            grid.push(expression(launch.grid.get(axis).map_or("1", String::as_str))?);
        }
        let padded = |values: &[u32]| [0, 1, 2].map(|axis| values.get(axis).copied().unwrap_or(1));
        launches.push(LaunchPlan {
            entry: launch.entry.clone(),
            grid: grid.try_into().map_err(|_| wrong(path, &"a grid has three dimensions"))?,
            block: padded(&launch.block),
            cluster: padded(&launch.cluster),
            shared_bytes: expression(&launch.shared)?,
            params: launch
                .params
                .iter()
                .map(|param| parameter(path, spec, param))
                .collect::<Result<_, _>>()?,
            programmatic: false,
        });
    }
    let scratch = header
        .scratch
        .iter()
        .map(|(name, bytes)| Ok(Scratch { name: name.clone(), bytes: expression(bytes)?, zero: false }))
        .collect::<Result<_, _>>()?;
    let variant = Variant {
        name: stem(path),
        when: expression(&header.when)?,
        alignment: header.alignment,
        scratch,
        launches,
    };
    let candidate = Candidate {
        image: None,
        id: name.clone(),
        proposer: "hostile",
        tunables: Tunables::new(),
        origin: Default::default(),
        arch: Arch::Sm90,
        ptx,
        variant,
    };
    Ok(Entry {
        name,
        row: header.row,
        says: header.says,
        spec: header.spec,
        candidate,
        refused: header.refused,
        device: header.device,
        open: header.open,
    })
}

/// `x` is an argument, `n:4` a size in 4 bytes, `scratch:partial` a buffer.
fn parameter(path: &Path, spec: &BoundSpec, text: &str) -> Result<ParamPlan, CorpusError> {
    if let Some(name) = text.strip_prefix("scratch:") {
        return Ok(ParamPlan::Scratch { name: name.to_owned() });
    }
    if let Some((value, bytes)) = text.split_once(':') {
        let value = SizeExpr::parse(value).map_err(|error| wrong(path, &error))?;
        let bytes = bytes.parse().map_err(|error| wrong(path, &error))?;
        return Ok(ParamPlan::Size { value, bytes });
    }
    match spec.arg(text) {
        Some(arg) if arg.scalar => Ok(ParamPlan::scalar(text)),
        Some(_) => Ok(ParamPlan::pointer(text)),
        None => Err(wrong(path, &format!("the spec has no argument `{text}`"))),
    }
}

fn wrong(path: &Path, message: &dyn std::fmt::Display) -> CorpusError {
    CorpusError { path: path.to_owned(), message: message.to_string() }
}

fn read(path: &Path) -> Result<String, CorpusError> {
    fs::read_to_string(path).map_err(|error| wrong(path, &error))
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>, CorpusError> {
    let mut paths = fs::read_dir(folder)
        .and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()
        })
        .map_err(|error| wrong(folder, &error))?;
    paths.sort();
    Ok(paths)
}

fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, CorpusError> {
    Ok(listed(folder)?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|it| it == extension))
        .collect())
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>, CorpusError> {
    Ok(listed(folder)?.into_iter().filter(|path| path.is_dir() && !path.ends_with("specs")).collect())
}
