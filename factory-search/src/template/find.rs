//! Which templates a spec has.

use std::path::{Path, PathBuf};

use super::Template;
use super::error::TemplateErrors;

/// The templates of the kernel `name` whose spec is at `spec`: every `.cu` file that begins with a header, in the folder
/// `<name>/` beside the spec, and those beside the spec itself that name the kernel. In the order of their paths.
///
/// # Errors
/// A file begins with a header and the header is wrong.
pub fn beside(spec: &Path, name: &str) -> Result<Vec<PathBuf>, TemplateErrors> {
    let folder = match spec.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut found = Vec::new();
    for (folder, must_name) in [(folder.join(name), false), (folder, true)] {
        for path in sources(&folder) {
            let template = Template::read(&path)?;
            if template.spec() == Some(name) || (!must_name && template.spec().is_none()) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The `.cu` files of a folder that begin with a header: others are somebody else's.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "cu"))
        .filter(|path| {
            std::fs::read_to_string(path).is_ok_and(|text| {
                text.trim_start_matches('\u{feff}').trim_start().starts_with(super::read::OPENING)
            })
        })
        .collect();
    found.sort();
    found
}
