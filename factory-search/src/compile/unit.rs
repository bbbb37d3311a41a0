//! One compilation: everything that its result depends on, but for the compiler.

use std::collections::BTreeMap;

use factory_spec::Arch;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One compilation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// The file's name without its folder, for messages and for the compiler.
    pub file: String,
    /// How messages call the file: its path as the user knows it.
    pub shown: String,
    /// The source.
    pub source: String,
    /// What it includes from its own folder, by the path from there.
    pub headers: BTreeMap<String, String>,
    /// Macros, in the order in which they are defined.
    pub defines: Vec<(String, String)>,
    /// Further flags, from the list that templates may choose from.
    pub flags: Vec<String>,
    /// The architecture.
    pub arch: Arch,
    /// Name expressions to instantiate, such as `rows<4>`.
    pub expressions: Vec<String>,
}

impl Unit {
    /// SHA-256 over everything that decides the result, with a length before each part.
    pub(crate) fn key(&self, compiler: &str) -> String {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        part("kernel-factory compile 1");
        part(compiler);
        // The file's name reaches mangled names; the folder that it lies in does not.
        part(&self.file);
        part(&self.source);
        part(self.arch.name());
        for (path, text) in &self.headers {
            part("header");
            part(path);
            part(text);
        }
        for (name, value) in &self.defines {
            part("define");
            part(name);
            part(value);
        }
        for flag in &self.flags {
            part("flag");
            part(flag);
        }
        for expression in &self.expressions {
            part("expression");
            part(expression);
        }
        hex(&hash.finalize())
    }

    /// SHA-256 of the source and of what it includes, without defines, flags and compiler.
    pub fn source_digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.source.as_bytes());
        for (path, text) in &self.headers {
            hash.update([0]);
            hash.update(path.as_bytes());
            hash.update([0]);
            hash.update(text.as_bytes());
        }
        hex(&hash.finalize())
    }

    /// The flags that both compilers take: language and architecture.
    pub(crate) fn options(&self) -> Vec<String> {
        let mut options = vec![format!("-arch=compute_{}", &self.arch.name()[3..])];
        if !self.flags.iter().any(|flag| flag.starts_with("-std=")) {
            options.push("-std=c++17".to_owned());
        }
        options.extend(self.flags.iter().cloned());
        options
    }

    /// The macros and the source behind them, its lines numbered as the user knows them.
    ///
    /// They are text and no `-D`: nvcc would send a value with a blank in it through a shell.
    pub(crate) fn text(&self) -> String {
        let defines: String =
            self.defines.iter().map(|(name, value)| format!("#define {name} {value}\n")).collect();
        format!("{defines}#line 1 \"{}\"\n{}", self.file, self.source)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
