//! Candidates from source: CUDA C++ files with inline PTX, whose header says what may be varied and how they are launched.
//!
//! A template is a `.cu` file that begins with a comment in TOML:
//!
//! ```text
//! /*kernel_factory
//! spec = "scale"                             # the kernel that it is for; any when left out
//! arch = ["sm_90"]                           # every target of the spec when left out
//! when = "n % VEC == 0"                      # sizes that it serves; all when left out
//! alignment = 16                             # of every tensor, in bytes; may be an expression
//! fallback = false                           # true: its likeliest configuration that serves every size is the plan's last resort;
//!                                            # "only": and nothing of it is proposed for any size
//! bake = ["n"]                               # SIZE_n reaches the source as a constant, and `when` pins it
//! types = { T = "x" }                        # macros that are the C++ type of an argument
//! flags = ["-use_fast_math"]                 # from a short list
//! constraints = ["THREADS * VEC <= 4096"]    # what does not hold is not generated; with sizes in it, it joins `when`
//!
//! [tunables]                                 # likeliest value first, or as `default`
//! VEC = [4, 2, 1]
//! THREADS = { powers = [32, 1024], default = 256 }
//! STAGES = { range = [1, 4] }
//! ORDER = ["rows", "columns"]                # ORDER=rows and ORDER_rows=1 reach the source
//! KEEP = true                                # 1, then 0
//!
//! [[scratch]]
//! name = "partial"
//! bytes = "4 * ceil_div(n, THREADS)"
//! zero = false                               # true: set to zero before each call
//!
//! [[launch]]                                 # several, one after the other
//! entry = "scale<VEC>"                       # a name, or a C++ name expression
//! grid = ["ceil_div(n, THREADS * VEC)"]      # x, y, z
//! block = ["THREADS"]
//! cluster = 1
//! shared = "4 * THREADS"                     # dynamic shared memory, in bytes
//! programmatic = false                       # true: may begin before the launch before it has ended
//! params = ["x", "y", "partial", { u32 = "n" }]
//! */
//! extern "C" __global__ void …
//! ```
//!
//! A parameter may also be a tensor map, with the keys of plans ([`TensorMapPlan`](factory_spec::TensorMapPlan)):
//! `{ map = "x", dims = ["n", "m"], strides = ["2 * n"], box = [64, "ROWS"], swizzle = "128B" }`.
//!
//! Tunables, baked sizes and types are macros, so that the same file compiles anywhere with `-D`. Expressions are size
//! expressions ([`SizeExpr`](factory_spec::SizeExpr)) over sizes and tunables; words count from 0 in alphabetic order, and
//! `T_BYTES` is what an element of the type `T` takes. Blocks and clusters must be known once the tunables and the baked sizes are.
//!
//! [`Templates`] proposes what a spec's templates can be made into, likeliest first.

mod check;
mod error;
mod find;
mod header;
mod include;
mod instance;
mod map;
mod proposer;
mod read;
mod space;
mod tunable;

use std::path::Path;
use std::sync::Arc;

use factory_spec::{BoundSpec, SizeValues, SourceText};

pub use error::{TemplateError, TemplateErrors, TemplateProblem};
pub use find::beside;
pub use proposer::{Templates, TemplatesError};

use crate::candidate::TunableValue;
use header::Header;
use include::LocalFiles;

/// A template that was read. Whether it fits a spec is for [`Template::check`] to say.
#[derive(Clone, Debug)]
pub struct Template {
    header: Header,
    files: LocalFiles,
}

impl Template {
    /// Reads a template and follows its includes.
    ///
    /// # Errors
    /// Everything that is wrong with the file by itself.
    pub fn read(path: &Path) -> Result<Self, TemplateErrors> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            TemplateError::of_file(path, TemplateProblem::Unreadable { reason: error.to_string() })
        })?;
        Self::parse(path, text)
    }

    /// Reads a template from its text. `path` names it in messages, and is where its includes are looked for.
    ///
    /// # Errors
    /// Everything that is wrong with the text by itself.
    pub fn parse(path: &Path, text: impl Into<String>) -> Result<Self, TemplateErrors> {
        let source = Arc::new(SourceText::new(path, text));
        let header = read::header(&source)?;
        match include::follow(&source) {
            Ok(files) => Ok(Self { header, files }),
            Err(errors) => Err(TemplateErrors::check(errors)
                .err()
                .unwrap_or_else(|| TemplateError::of_file(path, TemplateProblem::NoHeader).into())),
        }
    }

    /// The template's name: that of its header, else its file's.
    pub fn name(&self) -> &str {
        &self.header.name
    }

    /// Its path, as it was given.
    pub fn path(&self) -> &Path {
        self.header.source.path()
    }

    /// The kernel that it is for, when it says so.
    pub fn spec(&self) -> Option<&str> {
        self.header.spec.as_ref().map(|spec| spec.value.as_str())
    }

    /// The tunables with their values, likeliest first.
    pub fn tunables(&self) -> impl Iterator<Item = (&str, &[TunableValue])> {
        self.header.tunables.iter().map(|tunable| (tunable.name.as_str(), &tunable.values[..]))
    }

    /// Checks the header against a spec: names, arguments, targets, and that some configuration is left.
    ///
    /// # Errors
    /// Everything that does not fit.
    pub fn check(&self, spec: &BoundSpec) -> Result<(), TemplateErrors> {
        check::check(self, spec)
    }

    /// How many configurations there are for these sizes. [`Template::check`] comes first.
    pub fn configurations(&self, spec: &BoundSpec, over: &SizeValues) -> usize {
        space::configurations(&self.header, spec, Some(over)).len()
    }
}
