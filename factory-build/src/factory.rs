//! The order of events in a build.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
#[cfg(feature = "search")]
use std::time::Duration;

use factory_spec::generated::{self, Policy};
use factory_spec::{BoundSpec, Key, Reference, Sealed, Spec, signature};

use crate::cache::Cache;
use crate::env::{self, Variables};
use crate::error::{Cause, NoSearch, Place, Problem};
use crate::kernels::Kernels;
use crate::report::{Origin, Report};
use crate::scan::{self, Annotated};
use crate::{BuildError, embed};

/// Where sealed kernels lie if nothing else is said.
const KERNELS: &str = "kernels";

/// What a build script asks for. [`compile`](crate::compile) is `Factory::new().compile()`.
///
/// ```no_run
/// factory_build::Factory::new().file("src/kernels.rs").kernels_dir("sealed").compile();
/// ```
#[derive(Clone, Debug, Default)]
pub struct Factory {
    files: Vec<PathBuf>,
    kernels_dirs: Vec<PathBuf>,
    package_dir: Option<PathBuf>,
    out_dir: Option<PathBuf>,
    cache_dir: Option<PathBuf>,
    policy: Option<Policy>,
    quiet: bool,
}

impl Factory {
    /// Reads all sources of the package, and takes sealed kernels from its folder `kernels`.
    pub fn new() -> Factory {
        Factory::default()
    }

    /// Reads this source, relative to the package. Once a file is named, only named files are read: a build script
    /// that names them also finds sources outside `src`, `examples`, `tests` and `benches`.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Factory {
        self.files.push(path.into());
        self
    }

    /// Takes sealed kernels from this folder, relative to the package, instead of from `kernels`. With several, the
    /// first that has a kernel wins.
    #[must_use]
    pub fn kernels_dir(mut self, path: impl Into<PathBuf>) -> Factory {
        self.kernels_dirs.push(path.into());
        self
    }

    /// The package to build, instead of the one in `CARGO_MANIFEST_DIR`.
    #[must_use]
    pub fn package_dir(mut self, path: impl Into<PathBuf>) -> Factory {
        self.package_dir = Some(path.into());
        self
    }

    /// Where to write, instead of `OUT_DIR`.
    #[must_use]
    pub fn out_dir(mut self, path: impl Into<PathBuf>) -> Factory {
        self.out_dir = Some(path.into());
        self
    }

    /// The cache's root, instead of `KERNEL_FACTORY_CACHE_DIR` or the user's folder.
    #[must_use]
    pub fn cache_dir(mut self, path: impl Into<PathBuf>) -> Factory {
        self.cache_dir = Some(path.into());
        self
    }

    /// How far the build may go, instead of `KERNEL_FACTORY`.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Factory {
        self.policy = Some(policy);
        self
    }

    /// Prints nothing for cargo, for use outside a build script; what would have been printed is in the [`Report`].
    #[must_use]
    pub fn quiet(mut self) -> Factory {
        self.quiet = true;
        self
    }

    /// Builds; if that fails, prints the errors as cargo wants them and ends the build script.
    pub fn compile(self) {
        // A search starts this build script again to compile templates with NVRTC, where it can be stopped.
        #[cfg(feature = "search")]
        factory_search::serve_if_asked();
        if let Err(error) = self.try_compile() {
            for line in error.lines() {
                build_rs::output::error(&line);
            }
            std::process::exit(1);
        }
    }

    /// Builds, or says everything that is wrong. Prints for cargo what to watch in either case, and warnings.
    pub fn try_compile(self) -> Result<Report, BuildError> {
        let quiet = self.quiet;
        let mut report = Report::default();
        report.watched_variables.extend(Variables::watched());
        let result = Build::new(&self).and_then(|build| build.run(&mut report));
        if !quiet {
            report.print();
        }
        result.map(|()| report)
    }
}

/// One run, with everything decided.
pub(crate) struct Build {
    root: PathBuf,
    out_dir: PathBuf,
    files: Option<Vec<PathBuf>>,
    kernels: Vec<Kernels>,
    cache: Option<Cache>,
    variables: Variables,
    /// Whether a feature of the package is on
    feature: fn(&str) -> bool,
    /// What searches remember, opened by the first of them
    #[cfg(feature = "search")]
    evidence: OnceLock<Option<factory_search::evidence::Evidence>>,
}

/// A kernel to be had, and who asks for it first.
pub(crate) struct Request {
    pub(crate) key: Key,
    pub(crate) spec: BoundSpec,
    pub(crate) spec_path: PathBuf,
    pub(crate) place: Place,
    /// How much the spec lets a search spend: no part of the key either
    #[cfg(feature = "search")]
    search: factory_spec::Search,
    /// Names of specs that mean the same: the name is no part of the key
    names: BTreeSet<String>,
}

/// A kernel, and where it is from.
struct Had {
    sealed: Sealed,
    origin: Origin,
}

impl Build {
    fn new(factory: &Factory) -> Result<Build, BuildError> {
        let mut variables = Variables::read()?;
        variables.policy = factory.policy.unwrap_or(variables.policy);
        let root = factory.package_dir.clone().map_or_else(env::manifest_dir, Ok)?;
        let out_dir = factory.out_dir.clone().map_or_else(env::out_dir, Ok)?;
        let dirs = if factory.kernels_dirs.is_empty() {
            vec![PathBuf::from(KERNELS)]
        } else {
            factory.kernels_dirs.clone()
        };
        Ok(Build {
            kernels: dirs.into_iter().map(|dir| Kernels::new(&root, dir)).collect(),
            files: (!factory.files.is_empty())
                .then(|| factory.files.iter().map(|file| root.join(file)).collect()),
            cache: factory.cache_dir.clone().or_else(|| variables.cache_root.clone()).map(Cache::at),
            root,
            out_dir,
            variables,
            feature: env::feature,
            #[cfg(feature = "search")]
            evidence: OnceLock::new(),
        })
    }

    /// For looking at the package at `root` without building it, every feature on.
    pub(crate) fn to_look_at(root: &Path) -> Result<Build, BuildError> {
        let factory = Factory::new().package_dir(root).out_dir(PathBuf::new());
        Ok(Build { feature: |_| true, ..Build::new(&factory)? })
    }

    /// What is sealed for a kernel; `None` when no folder says anything about it.
    pub(crate) fn sealed(&self, request: &Request) -> Result<Option<Sealed>, Cause> {
        for (kernels, name) in self.places(request) {
            if let Some(sealed) = kernels.find(name, &request.spec, &request.key, None)? {
                return Ok(Some(sealed));
            }
        }
        Ok(None)
    }

    /// The short keys under which kernels of that name are sealed.
    pub(crate) fn sealed_keys(&self, name: &str) -> Vec<String> {
        self.kernels.iter().flat_map(|kernels| kernels.keys_of(name)).collect()
    }

    fn run(&self, report: &mut Report) -> Result<(), BuildError> {
        let mut problems = Vec::new();
        let requests = self.requests(report, &mut problems)?;
        let sealed = self.embed_sealed(&requests)?;
        for (request, sealed) in requests.into_iter().zip(sealed) {
            for (kernels, name) in self.places(&request) {
                report.watch(kernels.watched(name, &request.key));
            }
            let origin = match sealed {
                Ok(Some(origin)) => Ok(origin),
                Ok(None) => match self.get(&request, report) {
                    Ok(Had { sealed, origin }) => {
                        embed::kernel(&self.out_dir, &request.spec, &request.key, &sealed)?;
                        Ok(origin)
                    }
                    Err(cause) => Err(cause),
                },
                Err(cause) => Err(cause),
            };
            match origin {
                Ok(origin) => report.add(&request.spec.name, request.key, origin),
                Err(cause) => {
                    let problem = Problem { place: Some(request.place), cause };
                    // Only what is missing gets a stub. What was tampered with is refused in an editor too.
                    match (&problem.cause, self.variables.stub) {
                        (Cause::Missing { .. }, Some(stub)) => {
                            let reason =
                                format!("{} wrote no kernel: {}", stub.who(), problem.lines().join("; "));
                            embed::stub(&self.out_dir, &request.spec, &request.key, &reason)?;
                            report.watched_variables.extend(stub.variables());
                            report.add(&request.spec.name, request.key, Origin::Stub);
                        }
                        _ => problems.push(problem),
                    }
                }
            }
        }
        match self.variables.stub {
            _ if problems.is_empty() => Ok(()),
            // An editor and a documentation host show the attribute's own errors; a build script that fails hides them.
            Some(stub) => {
                report.watched_variables.extend(stub.variables());
                report.warnings.extend(problems.iter().flat_map(Problem::lines));
                Ok(())
            }
            None => Err(BuildError::Kernels(problems)),
        }
    }

    /// Embeds what is sealed, several kernels at a time: where each is from, `None` for one that is not sealed.
    ///
    /// Reading and digesting them is most of what a build script does that finds everything sealed.
    fn embed_sealed(&self, requests: &[Request]) -> Result<Vec<Result<Option<Origin>, Cause>>, BuildError> {
        let embed = |request: &Request| -> Result<Result<Option<Origin>, Cause>, BuildError> {
            if self.refreshes() {
                return Ok(Ok(None));
            }
            let Request { spec, key, .. } = request;
            let verified = generated::folder_in(&self.out_dir, key);
            for (kernels, name) in self.places(request) {
                match kernels.find(name, spec, key, Some(&verified)) {
                    Ok(Some(sealed)) => {
                        embed::kernel(&self.out_dir, spec, key, &sealed)?;
                        let folder = kernels.shown().join(name).join(key.short());
                        return Ok(Ok(Some(Origin::Sealed { folder })));
                    }
                    Ok(None) => {}
                    Err(cause) => return Ok(Err(cause)),
                }
            }
            Ok(Ok(None))
        };
        let jobs = env::threads().min(requests.len());
        if jobs <= 1 {
            return requests.iter().map(embed).collect();
        }
        let next = AtomicUsize::new(0);
        let slots: Vec<OnceLock<_>> = requests.iter().map(|_| OnceLock::new()).collect();
        std::thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let (Some(request), Some(slot)) = (requests.get(index), slots.get(index)) else {
                            return;
                        };
                        // Each index is drawn once, so the slot is free.
                        let _ = slot.set(embed(request));
                    }
                });
            }
        });
        // Every slot is set when the threads have ended; one that is not would be looked for once more.
        slots.into_iter().map(|slot| slot.into_inner().unwrap_or(Ok(Ok(None)))).collect()
    }

    /// Whether a search may be made where nothing is found.
    fn may_search(&self) -> bool {
        self.variables.stub.is_none() && self.variables.policy != Policy::Offline
    }

    /// Whether kernels are searched for anew even where there are some.
    fn refreshes(&self) -> bool {
        self.may_search() && self.variables.policy == Policy::Refresh
    }

    /// Where a kernel may be sealed: every folder, under every name.
    fn places<'a>(&'a self, request: &'a Request) -> impl Iterator<Item = (&'a Kernels, &'a str)> {
        self.kernels.iter().flat_map(|kernels| request.names.iter().map(move |name| (kernels, name.as_str())))
    }

    /// What the sources ask for: each key once, in the order of names.
    pub(crate) fn requests(
        &self,
        report: &mut Report,
        problems: &mut Vec<Problem>,
    ) -> Result<Vec<Request>, BuildError> {
        let mut specs = Specs::default();
        let mut requests: BTreeMap<Key, Request> = BTreeMap::new();
        let files = self.files.clone().unwrap_or_else(|| scan::package_files(&self.root));
        let mut read = Vec::new();
        for file in files {
            let source = match scan::read(&file, &self.feature) {
                Ok(source) => source,
                Err(source) if self.files.is_some() => {
                    return Err(BuildError::Source { path: self.shown(&file), source });
                }
                // Gone since it was listed, or closed to us: the compiler will say so if it matters.
                Err(_) => continue,
            };
            let shown = self.shown(&file);
            if source.is_some() || self.files.is_some() {
                report.watch([shown.clone()]);
            }
            read.push(shown.clone());
            for annotated in source.into_iter().flatten() {
                let place = Place { file: shown.clone(), line: annotated.line, column: annotated.column };
                match self.request(&annotated, place.clone(), &mut specs, report) {
                    Ok(Some(request)) => {
                        let name = request.spec.name.clone();
                        requests.entry(request.key).or_insert(request).names.insert(name);
                    }
                    // The attribute reports what is wrong with a signature, on the argument itself.
                    Ok(None) => {}
                    Err(cause) => problems.push(Problem { place: Some(place), cause }),
                }
            }
        }
        // Nothing asks for a kernel yet: the first signature may appear in any source.
        if requests.is_empty() && problems.is_empty() {
            report.watch(read);
        }
        if report.watched.is_empty() {
            // Without any line, cargo would watch the whole package.
            report
                .watch([PathBuf::from("build.rs")].into_iter().filter(|path| self.root.join(path).is_file()));
        }
        let mut requests: Vec<Request> = requests.into_values().collect();
        requests.sort_by(|a, b| (&a.spec.name, a.key).cmp(&(&b.spec.name, b.key)));
        Ok(requests)
    }

    fn request(
        &self,
        annotated: &Annotated,
        place: Place,
        specs: &mut Specs,
        report: &mut Report,
    ) -> Result<Option<Request>, Cause> {
        let Ok(attribute) = signature::read_attribute(annotated.attribute.clone()) else { return Ok(None) };
        let path = PathBuf::from(&attribute.spec);
        let refused = |errors| Cause::Spec { function: annotated.item.sig.ident.to_string(), errors };
        // First of all, so that the spec is watched even where the signature does not fit: either may be corrected.
        let spec = specs.read(&self.root, &path, report).map_err(refused)?;
        let Ok(function) = signature::read(&annotated.item) else { return Ok(None) };
        let Ok(bindings) = signature::check(&function, &attribute, spec) else { return Ok(None) };
        let bound = spec.bind(&bindings).map_err(refused)?;
        if let Reference::C(reference) = &bound.reference {
            report.watch(
                [self.shown(&reference.file)].into_iter().filter(|file| self.root.join(file).is_file()),
            );
        }
        #[cfg(feature = "search")]
        let search = spec.search.clone();
        specs.claim(&path)?;
        Ok(Some(Request {
            key: bound.key(),
            spec: bound,
            spec_path: path,
            place,
            #[cfg(feature = "search")]
            search,
            names: BTreeSet::new(),
        }))
    }

    /// A kernel that is not sealed.
    fn get(&self, request: &Request, report: &mut Report) -> Result<Had, Cause> {
        let Request { spec, key, .. } = request;
        let (may_search, refresh) = (self.may_search(), self.refreshes());
        if !refresh && let Some(sealed) = self.cached(spec, key) {
            return Ok(Had { sealed, origin: Origin::Cached });
        }
        let missing = |no_search| Cause::Missing {
            name: spec.name.clone(),
            key: *key,
            kernels: self.kernels.iter().map(|kernels| kernels.shown().to_owned()).collect(),
            sealed: self.kernels.iter().flat_map(|kernels| kernels.keys_of(&spec.name)).collect(),
            no_search,
        };
        if self.variables.stub.is_some() {
            return Err(missing(NoSearch::Stub));
        }
        if !may_search {
            return Err(missing(NoSearch::Offline));
        }
        self.search(request, refresh, report, &missing)
    }

    pub(crate) fn cached(&self, spec: &BoundSpec, key: &Key) -> Option<Sealed> {
        let sealed = self.cache.as_ref()?.load(key)?;
        sealed.plan.check_against(spec).is_ok().then_some(sealed)
    }

    #[cfg(not(feature = "search"))]
    fn search(
        &self,
        _: &Request,
        _: bool,
        _: &mut Report,
        missing: &dyn Fn(NoSearch) -> Cause,
    ) -> Result<Had, Cause> {
        Err(missing(NoSearch::FeatureOff))
    }

    /// Searches, or takes what another build found while this one waited for it.
    #[cfg(feature = "search")]
    fn search(
        &self,
        request: &Request,
        refresh: bool,
        report: &mut Report,
        _: &dyn Fn(NoSearch) -> Cause,
    ) -> Result<Had, Cause> {
        let Request { spec, key, .. } = request;
        // A search found before, when the cache would not take it.
        let built = generated::folder_in(&self.out_dir, key);
        if !refresh
            && let Ok(sealed) = Sealed::read_key(&built, key)
            && sealed.plan.check_against(spec).is_ok()
        {
            return Ok(Had { sealed, origin: Origin::Built });
        }
        let wait = LOCK_WAIT.max(self.variables.budget.unwrap_or_default() * 2);
        let _lock = self.cache.as_ref().and_then(|cache| cache.lock(key, wait));
        if !refresh && let Some(sealed) = self.cached(spec, key) {
            return Ok(Had { sealed, origin: Origin::Cached });
        }
        let evidence = self.evidence.get_or_init(|| {
            let (evidence, warning) = self.variables.evidence.open(self.cache.as_ref());
            report.warnings.extend(warning);
            evidence
        });
        let search = crate::search::Search {
            spec,
            spec_path: &self.root.join(&request.spec_path),
            asked: &request.search,
            variables: &self.variables,
            cache: self.cache.as_ref(),
            evidence: evidence.as_ref(),
            measurer: None,
        };
        let searched =
            search.run().map_err(|message| Cause::Search { name: spec.name.clone(), key: *key, message })?;
        report.warnings.extend(searched.warnings);
        report.warnings.push(searched.summary);
        let sealed = self.store(key, searched.sealed, refresh, report);
        Ok(Had { sealed, origin: Origin::Searched })
    }

    /// Puts a search's result into the cache, if the cache will have it.
    #[cfg(feature = "search")]
    fn store(&self, key: &Key, sealed: Sealed, refresh: bool, report: &mut Report) -> Sealed {
        let Some(cache) = &self.cache else {
            report.warnings.push(format!(
                "there is no folder for caches: set `{}`, or the next clean build searches again",
                generated::CACHE_VARIABLE
            ));
            return sealed;
        };
        if refresh {
            cache.remove(key);
        }
        match cache.store(key, &sealed) {
            Ok(stored) => stored,
            Err(error) => {
                report.warnings.push(format!("{error}; the next clean build searches again"));
                sealed
            }
        }
    }

    /// A path as messages and cargo's directives show it: relative to the package where it lies in it.
    fn shown(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).unwrap_or(path).to_owned()
    }
}

/// How long to wait for another build's search before doing it a second time.
#[cfg(feature = "search")]
const LOCK_WAIT: Duration = Duration::from_secs(10 * 60);

/// The specs of a build: each file is read once, and each name has one meaning.
#[derive(Default)]
struct Specs {
    read: BTreeMap<PathBuf, Spec>,
    names: BTreeMap<String, PathBuf>,
}

impl Specs {
    /// The spec at `path`, relative to the package.
    fn read(
        &mut self,
        root: &Path,
        path: &Path,
        report: &mut Report,
    ) -> Result<&Spec, factory_spec::SpecErrors> {
        if !self.read.contains_key(path) {
            if root.join(path).is_file() {
                report.watch([path.to_owned()]);
            }
            // Cargo runs build scripts in the package, so that messages can show the path as it is written.
            let here = std::env::current_dir().is_ok_and(|current| current == root);
            let spec = Spec::read(&if here { path.to_owned() } else { root.join(path) })?;
            self.read.insert(path.to_owned(), spec);
        }
        Ok(&self.read[path])
    }

    /// Takes the spec's name for the spec, unless another one that means something else has it.
    fn claim(&mut self, path: &Path) -> Result<(), Cause> {
        let spec = &self.read[path];
        let Some(first) = self.names.get(&spec.name) else {
            self.names.insert(spec.name.clone(), path.to_owned());
            return Ok(());
        };
        if first == path || keys(&self.read[first]) == keys(spec) {
            return Ok(());
        }
        Err(Cause::NameTaken { name: spec.name.clone(), first: first.clone(), second: path.to_owned() })
    }
}

/// The keys under all bindings of a spec's dtype variables.
fn keys(spec: &Spec) -> BTreeSet<Key> {
    spec.all_bindings()
        .iter()
        .filter_map(|bindings| spec.bind(bindings).ok())
        .map(|bound| bound.key())
        .collect()
}
