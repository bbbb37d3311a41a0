//! A package seen from outside of a build: which kernels it asks for, and whether they are there.
//!
//! What `cargo factory` needs. A build script needs none of it: see [`compile`](crate::compile).

use std::path::{Path, PathBuf};

use factory_spec::{BoundSpec, Key, Sealed};

use crate::BuildError;
use crate::error::{Cause, Place};
use crate::factory::{Build, Request};
use crate::report::Report;

/// A package and the kernels that its sources ask for.
pub struct Package {
    build: Build,
    requests: Vec<Request>,
    kernels: Vec<AnnotatedKernel>,
}

/// A kernel that an annotated signature asks for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AnnotatedKernel {
    /// Its spec, dtype variables bound
    pub spec: BoundSpec,
    /// The spec's key
    pub key: Key,
    /// The spec's file, as the attribute names it
    pub spec_path: PathBuf,
    /// The first signature that asks for it
    pub places: Vec<Place>,
}

/// Where a kernel's code would come from.
#[derive(Debug)]
#[non_exhaustive]
pub enum State {
    /// From the package, and everything about it fits its lock and its spec
    Sealed(Box<Sealed>),
    /// From the user's cache
    Cached(Box<Sealed>),
    /// From nowhere, but kernels of that name are sealed under other keys: the spec changed
    Stale {
        /// Those keys, in short form
        sealed: Vec<String>,
    },
    /// From nowhere
    Missing,
    /// It is sealed, but a build refuses it
    Refused(Box<Cause>),
}

impl Package {
    /// Reads the sources and specs of the package at `root`, whatever features they are behind.
    ///
    /// # Errors
    /// A spec is refused, two kernels have one name, or a variable of the environment makes no sense.
    pub fn read(root: &Path) -> Result<Package, BuildError> {
        let build = Build::to_look_at(root)?;
        let mut problems = Vec::new();
        let requests = build.requests(&mut Report::default(), &mut problems)?;
        if !problems.is_empty() {
            return Err(BuildError::Kernels(problems));
        }
        let kernels = requests
            .iter()
            .map(|request| AnnotatedKernel {
                spec: request.spec.clone(),
                key: request.key,
                spec_path: request.spec_path.clone(),
                places: vec![request.place.clone()],
            })
            .collect();
        Ok(Package { build, requests, kernels })
    }

    /// The kernels asked for, each key once, by name.
    pub fn kernels(&self) -> &[AnnotatedKernel] {
        &self.kernels
    }

    /// Where a kernel's code would come from.
    pub fn state(&self, kernel: &AnnotatedKernel) -> State {
        self.state_of(&kernel.spec, &kernel.key)
    }

    /// Where the code for a spec would come from, if the package asks for it; otherwise only the cache is asked.
    pub fn state_of(&self, spec: &BoundSpec, key: &Key) -> State {
        let request = self.requests.iter().find(|request| request.key == *key);
        match request.map_or(Ok(None), |request| self.build.sealed(request)) {
            Err(cause) => return State::Refused(Box::new(cause)),
            Ok(Some(sealed)) => return State::Sealed(Box::new(sealed)),
            Ok(None) => {}
        }
        if let Some(sealed) = self.build.cached(spec, key) {
            return State::Cached(Box::new(sealed));
        }
        let sealed = self.build.sealed_keys(&spec.name);
        if sealed.is_empty() { State::Missing } else { State::Stale { sealed } }
    }
}
