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
use std::str::FromStr as _;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The name of the attribute, whatever path it is written with.
const ATTRIBUTE: &str = "kernel_factory";

/// Folders of a package in which cargo finds targets by itself.
const FOLDERS: [&str; 4] = ["src", "examples", "tests", "benches"];

/// One `#[kernel_factory(..)] fn name(..);`.
pub(crate) struct Annotated {
    /// What stands between the attribute's parentheses.
    pub(crate) attribute: TokenStream,
    pub(crate) item: syn::ForeignItemFn,
    /// Where the attribute starts; both count from 1.
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
    if !text.contains(ATTRIBUTE) {
        return Ok(None);
    }
    let mut items = Vec::new();
    if let Ok(tokens) = TokenStream::from_str(without_shebang(text)) {
        collect(tokens, features, &mut items);
    }
    Ok(Some(items))
}

/// The text without a leading `#!interpreter`, which is no token of Rust; the line's end stays, for the line numbers.
fn without_shebang(text: &str) -> &str {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.starts_with("#!") && !text[2..].trim_start().starts_with('[') {
        &text[text.find('\n').unwrap_or(text.len())..]
    } else {
        text
    }
}

fn collect(tokens: TokenStream, features: &dyn Fn(&str) -> bool, found: &mut Vec<Annotated>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    // Where the attributes of the item at hand begin: those in front of ours belong to it too.
    let mut first_attribute = None;
    let mut at = 0;
    while at < tokens.len() {
        let Some(attribute) = attribute_at(&tokens, at) else {
            if let TokenTree::Group(group) = &tokens[at] {
                collect(group.stream(), features, found);
            }
            first_attribute = None;
            at += 1;
            continue;
        };
        let start = *first_attribute.get_or_insert(at);
        if let Some(arguments) = kernel_factory_arguments(&attribute) {
            let end = tokens[at..]
                .iter()
                .position(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ';'));
            if let Some(length) = end {
                let place = tokens[at].span().start();
                let mut item = tokens[start..at].to_vec();
                item.extend_from_slice(&tokens[at + 2..=at + length]);
                match syn::parse2::<syn::ForeignItemFn>(item.into_iter().collect()) {
                    Ok(item) if !is_off(&item.attrs, features) => {
                        found.push(Annotated {
                            attribute: arguments,
                            item,
                            line: place.line,
                            column: place.column + 1,
                        });
                        first_attribute = None;
                        at += length + 1;
                        continue;
                    }
                    _ => {}
                }
            }
        }
        at += 2;
    }
}

/// The content of the outer attribute `#[..]` that starts at `at`.
fn attribute_at(tokens: &[TokenTree], at: usize) -> Option<TokenStream> {
    match (&tokens[at], tokens.get(at + 1)?) {
        (TokenTree::Punct(hash), TokenTree::Group(group))
            if hash.as_char() == '#' && group.delimiter() == Delimiter::Bracket =>
        {
            Some(group.stream())
        }
        _ => None,
    }
}

/// The arguments of `kernel_factory(..)` or `some::path::kernel_factory(..)`.
fn kernel_factory_arguments(attribute: &TokenStream) -> Option<TokenStream> {
    let mut last = None;
    for token in attribute.clone() {
        match token {
            TokenTree::Ident(ident) => last = Some(ident),
            TokenTree::Punct(punct) if punct.as_char() == ':' => {}
            TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis => {
                return last.filter(|last| last == ATTRIBUTE).map(|_| group.stream());
            }
            _ => return None,
        }
    }
    None
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
        let mut found = Vec::new();
        collect(TokenStream::from_str(text).expect("lexes"), &|feature| feature == "on", &mut found);
        found.iter().map(|item| format!("{}@{}:{}", item.item.sig.ident, item.line, item.column)).collect()
    }

    #[test]
    fn finds_signatures_wherever_they_stand() {
        let text = "
#[kernel_factory(spec = \"a.toml\")]
pub fn a(x: &Tensor<f32>);
mod inner {
    /// Documented.
    #[inline]
    #[factory_runtime::kernel_factory(spec = \"b.toml\")]
    #[must_use]
    pub(crate) fn b(x: &Tensor<f32>);
    fn body() { wrap! { #[kernel_factory(spec = \"c.toml\")] fn c(x: &Tensor<f32>); } }
}";
        assert_eq!(names(text), ["a@2:1", "b@7:5", "c@10:25"]);
    }

    #[test]
    fn leaves_out_what_is_no_signature() {
        assert!(names("/// #[kernel_factory(spec = \"a.toml\")]\nfn a();").is_empty(), "a comment");
        assert!(
            names("#[kernel_factory(spec = \"a.toml\")] fn a() {}").is_empty(),
            "a body: the attribute reports it"
        );
        assert!(
            names("macro_rules! m { ($t:ty) => { #[kernel_factory(spec = \"a\")] fn a(x: &$t); } }")
                .is_empty(),
            "a template"
        );
        assert!(names("#[other(kernel_factory(spec = \"a.toml\"))] fn a();").is_empty(), "another attribute");
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

    #[test]
    fn a_shebang_keeps_the_line_numbers() {
        assert_eq!(without_shebang("#!/usr/bin/env rust\nfn a() {}"), "\nfn a() {}");
        assert_eq!(without_shebang("#![allow(x)]\n"), "#![allow(x)]\n");
    }
}
