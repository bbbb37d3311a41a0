//! The search, as a build runs it.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use factory_search::evidence::Evidence;
use factory_search::learn::Memory;
use factory_search::log::{EventLog, LogOutcome, LogStart};
use factory_search::{
    Budget, Event, GpuPolicy, Means, Measurer, Observer as _, Proposers, SearchOptions, WorkerOptions,
};
use factory_spec::{BoundSpec, Sealed};

use crate::cache::Cache;
use crate::env::{self, Variables};

/// What a search found.
pub(crate) struct Searched {
    pub(crate) sealed: Sealed,
    /// A line for the user
    pub(crate) summary: String,
    /// What was wrong on the way, a line each
    pub(crate) warnings: Vec<String>,
}

/// A search for one kernel.
pub(crate) struct Search<'a> {
    pub(crate) spec: &'a BoundSpec,
    pub(crate) spec_path: &'a Path,
    /// The spec's own budget; what the environment says goes before it
    pub(crate) asked: &'a factory_spec::Search,
    pub(crate) variables: &'a Variables,
    /// Where the log goes
    pub(crate) cache: Option<&'a Cache>,
    pub(crate) evidence: Option<&'a Evidence>,
    /// What times candidates; `None`: the GPU, where there is one and it may be used
    pub(crate) measurer: Option<&'a mut dyn Measurer>,
}

/// Above this, a user may want to know what would make a search faster.
const SLOW: f64 = 30.0;

impl Search<'_> {
    /// Searches, or says in words why there is no kernel. What happens meanwhile is logged in the cache.
    pub(crate) fn run(self) -> Result<Searched, String> {
        let Search { spec, spec_path, asked, variables, cache, evidence, measurer } = self;
        let defaults = SearchOptions::default();
        let candidates = asked.candidates.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let options = SearchOptions {
            seed: variables.seed.or(asked.seed).unwrap_or(defaults.seed),
            budget: Budget {
                candidates: candidates.unwrap_or(defaults.budget.candidates),
                seconds: variables.budget.map(|budget| budget.as_secs_f64()).or(asked.seconds),
            },
            threads: env::jobs(),
            templates: factory_search::template::beside(spec_path, &spec.name)
                .map_err(|error| error.to_string())?,
            gpu: if env::machine_only() { GpuPolicy::Off } else { defaults.gpu },
            workers: WorkerOptions::of_environment()?,
            ..defaults
        };
        let start = Instant::now();
        let mut notes = Vec::new();
        // A log is a help and no condition: a folder that takes none is no reason not to search.
        let mut log = cache.and_then(|cache| {
            cache.check_writable().ok()?;
            EventLog::create(&cache.logs(), &LogStart::new(spec, &options, "build")).ok()
        });
        let memory = evidence.map(|evidence| evidence.run(spec, &options));
        let mut warnings = Vec::new();
        // A search without memory is slower, not wrong.
        if let Some(Err(error)) = evidence.map(|evidence| evidence.import_beside(spec_path, &spec.name)) {
            warnings.push(error.to_string());
        }
        let mut observer = |event: &Event<'_>| {
            if let Some(memory) = &memory {
                memory.hears(event);
            }
            if let Some(log) = &mut log {
                log.event(event);
            }
            if let Event::Note { message } = event {
                notes.push((*message).to_owned());
            }
        };
        let found = Proposers::of(spec, &options.templates, &mut observer).and_then(|proposers| {
            let memory = memory.as_ref().map(|memory| memory as &dyn Memory);
            // For as long as the proposers live, which is shorter.
            let measurer = measurer.map(|measurer| measurer as &mut dyn Measurer);
            let means = Means { measurer, memory, ..Means::new(&proposers) };
            factory_search::search_by(spec, &options, means, &mut observer)
        });
        if let Some(log) = &mut log {
            log.finish(LogOutcome::new(&found));
        }
        let logged = log.as_ref().map(|log| log.path().display().to_string());
        let found = found.map_err(|error| match &logged {
            Some(path) => format!("{error}; log: {path}"),
            None => error.to_string(),
        })?;
        let seconds = start.elapsed().as_secs_f64();
        let mut summary = format!(
            "kernel `{}` ({}): best of {} candidates in {:.1} s, {}; `cargo factory tune {}` seals it into the crate",
            spec.name,
            spec.key().short(),
            found.candidates.len(),
            seconds,
            if found.modelled { "ordered by a model, not measured" } else { "measured" },
            spec.name,
        );
        if let Some(learned) = &found.learned {
            let _ = write!(summary, "; {learned}");
        }
        // Cargo repeats a build script's warnings at every build, so there is one line and not one for each note.
        if let Some(first) = notes.first() {
            let _ = write!(summary, "; {first}");
            if notes.len() > 1 {
                let _ = write!(
                    summary,
                    " (and {} more of this kind, which `cargo factory tune` lists)",
                    notes.len() - 1
                );
            }
        }
        if let Some(path) = logged {
            let _ = write!(summary, "; log: {path}");
            if let Some(trouble) = log.as_ref().and_then(EventLog::trouble) {
                let _ = write!(summary, " (which breaks off: {trouble})");
            }
        }
        if seconds > SLOW && cfg!(debug_assertions) {
            summary.push_str(
            "; unless it is there already, `opt-level = 3` in `[profile.dev.build-override]` makes the search many times faster",
        );
        }
        Ok(Searched { sealed: found.sealed, summary, warnings })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::PathBuf;

    use factory_search::cases::Cases;
    use factory_search::gpu::{CandidateTiming, MeasureOptions, Timing};
    use factory_search::log::{LogEvent, LogRead, LogReader, logs};
    use factory_search::{Candidate, Measurer};
    use factory_spec::{SizeValues, Spec};

    use super::*;
    use crate::evidence::Place;

    const SPEC: &str = r#"
[kernel]
name = "double"
[sizes]
n = { min = 1 }
[[arg]]
name = "x"
dtype = "f32"
shape = ["n"]
[[arg]]
name = "y"
dtype = "f32"
shape = ["n"]
role = "out"
[reference]
program = "y = x + x"
[better]
over = [{ n = 4096 }]
[targets]
arch = ["sm_90"]
[search]
candidates = 8
"#;

    /// A device that times everything it is asked for, and says how often it was.
    #[derive(Default)]
    struct Clock {
        asked: usize,
    }

    impl Measurer for Clock {
        fn name(&self) -> &str {
            "a device"
        }

        fn driver(&self) -> &str {
            "580.1"
        }

        fn capability(&self) -> (u32, u32) {
            (9, 0)
        }

        fn check_and_time(
            &mut self,
            _: &BoundSpec,
            _: &Cases,
            _: &SizeValues,
            candidates: &[&Candidate],
            _: &MeasureOptions,
        ) -> Result<Timing, String> {
            self.asked += candidates.len();
            let time = |candidate: &&Candidate| {
                let digest = candidate.digest()[0];
                CandidateTiming::recorded(&candidate.id, Ok(1e-6 * (1.0 + f64::from(digest))))
            };
            Ok(Timing::recorded(candidates.iter().map(time).collect(), "a device", "580.1"))
        }
    }

    /// A package's folder with the spec in it, and a cache.
    struct Package {
        folder: tempfile::TempDir,
        spec: Spec,
        variables: Variables,
    }

    impl Package {
        fn new() -> Package {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let spec = Spec::parse(Path::new("kernels/double.toml"), SPEC).expect("a spec");
            let variables = Variables::read().expect("variables that make sense");
            fs::create_dir_all(folder.path().join("kernels/double")).expect("a folder");
            Package { folder, spec, variables }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn cache(&self) -> Cache {
            Cache::at(self.path("cache"))
        }

        /// What a search with this evidence said, and how many candidates it had timed.
        fn search(&self, evidence: Option<&Evidence>) -> (Searched, usize) {
            let mut clock = Clock::default();
            let search = Search {
                spec: &self.spec.bind(&BTreeMap::new()).expect("no variables"),
                spec_path: &self.path("kernels/double.toml"),
                asked: &self.spec.search,
                variables: &self.variables,
                cache: Some(&self.cache()),
                evidence,
                measurer: Some(&mut clock),
            };
            let searched = search.run().unwrap_or_else(|error| panic!("{error}"));
            (searched, clock.asked)
        }
    }

    fn open(path: PathBuf) -> Evidence {
        let (evidence, warning) = Place::File(path).open(None);
        assert_eq!(warning, None);
        evidence.expect("a new file")
    }

    #[test]
    fn a_search_believes_and_adds_to_evidence() {
        let package = Package::new();
        let (evidence, warning) = Place::Cache.open(Some(&package.cache()));
        assert_eq!(warning, None);
        let evidence = evidence.expect("a new file");
        assert_eq!(evidence.path(), package.path("cache/evidence.sqlite"));
        let (first, timed) = package.search(Some(&evidence));
        assert!(timed > 0 && first.warnings.is_empty());
        assert!(first.summary.contains("memory: empty"), "{}", first.summary);
        let notes = evidence.notes(Some("double")).expect("notes");
        assert!(!notes.is_empty());
        let driver = |note: &factory_search::evidence::Note| note.driver.as_deref() == Some("580.1");
        assert!(notes.iter().any(driver) && notes.iter().all(|note| note.device.is_none() || driver(note)));
        assert_eq!(evidence.specs(None).expect("specs").len(), 1);
        // The next one pays for finalists alone.
        let (second, again) = package.search(Some(&evidence));
        assert!(again < timed, "{again} of {timed}");
        assert!(second.summary.contains("known verdicts not paid for again"), "{}", second.summary);
        // And so does one with another file, where the first one's is committed beside the spec.
        let committed = package.path("kernels/double/evidence.jsonl");
        evidence.export(None, &mut fs::File::create(&committed).expect("a file")).expect("lines");
        let (third, again) = package.search(Some(&open(package.path("elsewhere.sqlite"))));
        assert!(again < timed && third.warnings.is_empty(), "{again} of {timed}");
        // What is wrong with it is one line, and no reason to stop.
        fs::write(&committed, "garbage\n").expect("a file");
        let (fourth, again) = package.search(Some(&open(package.path("other.sqlite"))));
        assert_eq!(again, timed);
        assert_eq!(fourth.warnings.len(), 1);
        assert!(fourth.warnings[0].contains("evidence.jsonl`, line 1"), "{}", fourth.warnings[0]);
        // Without any it is what it was before there was any.
        let (fifth, again) = package.search(None);
        assert!(again == timed && fifth.warnings.is_empty());
        // One line each, which names a log with a beginning and an end.
        let logs = logs(&package.cache().logs());
        assert_eq!(logs.len(), 5);
        for searched in [first, second, third, fourth, fifth] {
            assert_eq!(searched.summary.lines().count(), 1);
            assert!(logs.iter().any(|log| searched.summary.contains(&log.display().to_string())));
        }
        for log in logs {
            let events = LogReader::open(&log).and_then(|mut log| log.read()).expect("a log");
            let event = |read: Option<&LogRead>| match read {
                Some(LogRead::Line { line, .. }) => line.event.clone(),
                other => panic!("{other:?}"),
            };
            assert!(matches!(event(events.first()), LogEvent::Start(start) if start.by == "build"));
            assert!(matches!(event(events.last()), LogEvent::End(LogOutcome::Found { .. })));
        }
    }

    #[test]
    fn evidence_that_cannot_be_opened_is_one_line_that_says_what_to_do() {
        let package = Package::new();
        let newer = package.path("newer.sqlite");
        drop(open(newer.clone()));
        // The version stands in bytes 60 to 63 of a database.
        let mut bytes = fs::read(&newer).expect("the file");
        bytes[60..64].copy_from_slice(&99u32.to_be_bytes());
        fs::write(&newer, bytes).expect("a newer file");
        fs::write(package.path("plain"), "").expect("a file");
        fs::write(package.path("spec.toml"), SPEC).expect("a file");
        for (name, words) in [
            ("newer.sqlite", "version 99"),
            ("plain/evidence.sqlite", "plain"),
            ("spec.toml", "no evidence file"),
        ] {
            let (evidence, warning) = Place::File(package.path(name)).open(Some(&package.cache()));
            assert!(evidence.is_none(), "{name}");
            let warning = warning.unwrap_or_else(|| panic!("{name}"));
            assert!(
                warning.starts_with("searching without memory: ") && warning.contains(words),
                "{warning}"
            );
            assert!(
                warning.contains("`KERNEL_FACTORY_EVIDENCE`") && warning.lines().count() == 1,
                "{warning}"
            );
        }
        for place in [Place::Off, Place::Cache] {
            assert!(matches!(place.open(None), (None, None)), "nothing was asked for: {place:?}");
        }
        assert!(Variables::watched().contains(&"KERNEL_FACTORY_EVIDENCE"));
    }
}
