//! Finds annotated signatures in a package's sources.
//!
//! Files are searched for the attribute's name first, and only those that hold it are lexed; of those, only the
//! annotated items are parsed. So the size of a package hardly matters, and signatures inside modules, functions and
//! macro calls are found wherever they stand. What does not lex or parse is left out: the compiler and the attribute
//! see the same tokens right after the build script, and report on them with better spans than we could.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use factory_spec::signature::{self, ATTRIBUTE};
use proc_macro2::TokenStream;

/// Folders of a package in which cargo finds targets by itself.
const FOLDERS: [&str; 4] = ["src", "examples", "tests", "benches"];

/// One `#[kernel_factory(..)] fn name(..);`.
pub(crate) struct Annotated {
    /// What stands between the attribute's parentheses.
    pub(crate) attribute: TokenStream,
    pub(crate) item: syn::ForeignItemFn,
    /// Where the function's name stands; both count from 1.
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// The `.rs` files of the package at `root` that cargo could compile, sorted.
pub(crate) fn package_files(root: &Path) -> Vec<PathBuf> {
    let mut walk = Walk { files: BTreeSet::new(), links: BTreeSet::new() };
    for folder in FOLDERS {
        walk.folder(&root.join(folder));
    }
    walk.files.into_iter().collect()
}

struct Walk {
    files: BTreeSet<PathBuf>,
    /// Linked folders already entered, so that a loop of links ends.
    links: BTreeSet<PathBuf>,
}

impl Walk {
    fn folder(&mut self, folder: &Path) {
        // A folder that is not there, or that we may not list, holds nothing that cargo could compile.
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b".") || name == "target" {
                continue;
            }
            let (path, Ok(mut kind)) = (entry.path(), entry.file_type()) else { continue };
            if kind.is_symlink() {
                let Ok(metadata) = fs::metadata(&path) else { continue };
                kind = metadata.file_type();
                if kind.is_dir() && !fs::canonicalize(&path).is_ok_and(|path| self.links.insert(path)) {
                    continue;
                }
            }
            if kind.is_dir() {
                // A manifest marks another package, which has a build script of its own.
                if !path.join("Cargo.toml").exists() {
                    self.folder(&path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                self.files.insert(path);
            }
        }
    }
}

/// The annotated signatures of one file, or `None` when the attribute's name does not occur in it.
pub(crate) fn read(path: &Path, features: &dyn Fn(&str) -> bool) -> io::Result<Option<Vec<Annotated>>> {
    let bytes = fs::read(path)?;
    // Text that is not UTF-8 is no Rust; the compiler says so.
    let Ok(text) = std::str::from_utf8(&bytes) else { return Ok(None) };
    Ok(text.contains(ATTRIBUTE).then(|| annotated(text, features)))
}

fn annotated(text: &str, features: &dyn Fn(&str) -> bool) -> Vec<Annotated> {
    let found = signature::find_in_file(text).unwrap_or_default().into_iter();
    found
        .filter(|found| !is_off(&found.item.attrs, features))
        .map(|found| {
            let place = found.item.sig.ident.span().start();
            Annotated { attribute: found.attr, item: found.item, line: place.line, column: place.column + 1 }
        })
        .collect()
}

/// Whether a `cfg` of the item's own rules it out, as far as that depends on features; everything else may be on.
fn is_off(attributes: &[syn::Attribute], features: &dyn Fn(&str) -> bool) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).any(|attribute| {
        attribute.parse_args::<syn::Meta>().is_ok_and(|condition| holds(&condition, features) == Some(false))
    })
}

/// The value of a `cfg` condition, or `None` where it depends on more than features.
fn holds(condition: &syn::Meta, features: &dyn Fn(&str) -> bool) -> Option<bool> {
    match condition {
        syn::Meta::NameValue(pair) if pair.path.is_ident("feature") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(name), .. }) => Some(features(&name.value())),
            _ => None,
        },
        syn::Meta::List(list) => {
            let parts = list
                .parse_args_with(syn::punctuated::Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated)
                .ok()?;
            let values: Vec<Option<bool>> = parts.iter().map(|part| holds(part, features)).collect();
            if list.path.is_ident("not") {
                values.first().copied().flatten().map(|value| !value)
            } else if list.path.is_ident("all") {
                if values.contains(&Some(false)) {
                    Some(false)
                } else {
                    values.into_iter().collect::<Option<Vec<_>>>().map(|_| true)
                }
            } else if list.path.is_ident("any") {
                if values.contains(&Some(true)) {
                    Some(true)
                } else {
                    values.into_iter().collect::<Option<Vec<_>>>().map(|_| false)
                }
            } else {
                None
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let found = annotated(text, &|feature| feature == "on");
        found.iter().map(|item| format!("{}@{}:{}", item.item.sig.ident, item.line, item.column)).collect()
    }

    #[test]
    fn a_place_is_that_of_the_function() {
        assert_eq!(names("\n#[kernel_factory(spec = \"a.toml\")]\npub fn a(x: &Tensor<f32>);\n"), ["a@3:8"]);
    }

    #[test]
    fn what_does_not_lex_is_left_to_the_compiler() {
        assert!(names("#[kernel_factory(spec = \"a.toml\")] fn a(x: &Tensor<f32>); }").is_empty());
    }

    #[test]
    fn a_feature_that_is_off_hides_a_signature() {
        let with = |cfg: &str| names(&format!("#[cfg({cfg})] #[kernel_factory(spec = \"a\")] fn a();")).len();
        assert_eq!(with("feature = \"on\""), 1);
        assert_eq!(with("feature = \"off\""), 0);
        assert_eq!(with("not(feature = \"on\")"), 0);
        assert_eq!(with("all(unix, feature = \"off\")"), 0);
        assert_eq!(with("any(feature = \"off\", unix)"), 1, "what is not a feature may be on");
        assert_eq!(with("any(feature = \"off\", feature = \"on\")"), 1);
        assert_eq!(with("test"), 1);
    }
}
