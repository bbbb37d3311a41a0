//! Which files a template reads, found before any compiler sees it.
//!
//! A template is as hostile as any candidate: `#include "/home/me/.ssh/id_ed25519"` would put a file into a compiler's
//! message or into a kernel. So every directive that reads a file is looked for in the text itself, and it may name files
//! of the template's own folder and headers of the CUDA toolkit. What is found is all that the compiler is given: it
//! works in a folder of its own with copies of these files.
//!
//! The scan sees too much rather than too little: a directive inside a comment or a string counts as one. Line splices are
//! joined first, alternative tokens are known, and a directive whose file a macro names is refused.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use factory_spec::{SourceText, Span};

use super::error::{TemplateError, TemplateProblem};

/// Files beside the template by the path that they are included with.
pub(crate) type LocalFiles = BTreeMap<String, String>;

/// Files that a template may include, and their size together.
const MOST_FILES: usize = 64;
const MOST_BYTES: u64 = 4 << 20;

/// Follows the includes of a template.
pub(super) fn follow(source: &Arc<SourceText>) -> Result<LocalFiles, Vec<TemplateError>> {
    let folder = match source.path().parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut found = LocalFiles::new();
    let mut errors = Vec::new();
    let mut queue = vec![(Arc::clone(source), PathBuf::new())];
    let mut bytes = 0;
    while let Some((text, inside)) = queue.pop() {
        for directive in scan(text.text()) {
            let outcome = match &directive.wants {
                Wants::Toolkit(name) => toolkit(name).map(|()| None),
                Wants::Local(name) => local(&folder, &inside, name),
                Wants::Nothing(message) => Err(message.clone()),
            };
            match outcome {
                Err(message) => {
                    errors.push(TemplateError::at(
                        &text,
                        directive.span,
                        TemplateProblem::Include { message },
                    ));
                }
                Ok(Some((relative, content))) if !found.contains_key(&relative) => {
                    bytes += content.len() as u64;
                    if found.len() >= MOST_FILES || bytes > MOST_BYTES {
                        let message =
                            format!("it includes more than {MOST_FILES} files or {MOST_BYTES} bytes");
                        errors.push(TemplateError::at(
                            &text,
                            directive.span,
                            TemplateProblem::Include { message },
                        ));
                        return Err(errors);
                    }
                    let path = folder.join(&relative);
                    let below = Path::new(&relative).parent().map(Path::to_owned).unwrap_or_default();
                    queue.push((Arc::new(SourceText::new(path, content.clone())), below));
                    found.insert(relative, content);
                }
                Ok(_) => {}
            }
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// A header in angle brackets: a plain relative name, to be found in the toolkit or not at all.
fn toolkit(name: &str) -> Result<(), String> {
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if plain && !name.contains('\\') {
        return Ok(());
    }
    Err(format!("`<{name}>` is no header of the CUDA toolkit"))
}

/// A file beside the template: its path from the template's folder, and its text. `None`: a header of the toolkit.
fn local(folder: &Path, inside: &Path, name: &str) -> Result<Option<(String, String)>, String> {
    let outside = || format!("`{name}` is outside the template's folder");
    let mut relative = inside.to_owned();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(word) => relative.push(word),
            Component::CurDir => {}
            Component::ParentDir if relative.pop() => {}
            _ => return Err(outside()),
        }
    }
    if name.contains('\\') {
        return Err(outside());
    }
    let path = folder.join(&relative);
    if !path.exists() {
        // What is not beside the template is looked for in the toolkit, as with angle brackets.
        return toolkit(name).map(|()| None);
    }
    // A symbolic link may lead anywhere.
    let inside =
        |path: &Path, folder: &Path| Some(path.canonicalize().ok()?.starts_with(folder.canonicalize().ok()?));
    if inside(&path, folder) != Some(true) {
        return Err(outside());
    }
    if std::fs::metadata(&path).is_ok_and(|data| data.len() > MOST_BYTES || !data.is_file()) {
        return Err(format!("`{name}` is no file of at most {MOST_BYTES} bytes"));
    }
    let text = std::fs::read_to_string(&path).map_err(|error| format!("`{name}` cannot be read: {error}"))?;
    let relative = relative.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
    Ok(Some((relative, text)))
}

struct Directive {
    span: Span,
    wants: Wants,
}

#[derive(Debug, PartialEq)]
enum Wants {
    Toolkit(String),
    Local(String),
    /// Refused, with the reason.
    Nothing(String),
}

/// Text without line splices, and where each of its bytes stands in the file.
fn joined(text: &str) -> (Vec<u8>, Vec<usize>) {
    let bytes = text.as_bytes();
    let (mut out, mut places) = (Vec::with_capacity(bytes.len()), Vec::with_capacity(bytes.len() + 1));
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'\\' {
            // GCC and EDG also take a backslash with blanks behind it for a splice.
            let blanks =
                bytes[at + 1..].iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
            if bytes.get(at + 1 + blanks) == Some(&b'\n') {
                at += blanks + 2;
                continue;
            }
        }
        out.push(bytes[at]);
        places.push(at);
        at += 1;
    }
    places.push(bytes.len());
    (out, places)
}

/// Everything that may read a file or make the same text compile to something else another day.
fn scan(text: &str) -> Vec<Directive> {
    let (bytes, places) = joined(text);
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let hash = [&b"#"[..], b"%:", b"??="].into_iter().find(|hash| rest.starts_with(hash));
        if let Some(hash) = hash {
            let begin = skip_blank(&bytes, at + hash.len());
            let length = word_length(&bytes[begin..]);
            let word = &bytes[begin..begin + length];
            let end = begin + length;
            if matches!(word, b"include" | b"include_next" | b"import" | b"embed") {
                let (wants, stop) = named(&bytes, end, word);
                found.push(Directive { span: Span::from(places[at]..places[stop.min(bytes.len())]), wants });
            }
            at += hash.len();
            continue;
        }
        let length = word_length(rest);
        let word = &rest[..length];
        let reason = match word {
            b"__DATE__" | b"__TIME__" | b"__TIMESTAMP__" => {
                Some("it makes the same source compile to something else another day")
            }
            b"__has_include" | b"__has_include_next" | b"__has_embed" => {
                Some("it looks at files outside the template")
            }
            _ => None,
        };
        if let Some(reason) = reason {
            let message = format!("`{}` is not allowed: {reason}", String::from_utf8_lossy(word));
            let span = Span::from(places[at]..places[at + length]);
            found.push(Directive { span, wants: Wants::Nothing(message) });
        }
        at += length.max(1);
    }
    found
}

fn word_length(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count()
}

/// Skips blanks and comments, which may stand between the parts of a directive.
fn skip_blank(bytes: &[u8], mut at: usize) -> usize {
    loop {
        match bytes.get(at) {
            Some(b' ' | b'\t' | 0x0b | 0x0c | b'\r') => at += 1,
            Some(b'/') if bytes.get(at + 1) == Some(&b'*') => {
                let end = bytes[at + 2..].windows(2).position(|pair| pair == b"*/");
                at = end.map_or(bytes.len(), |end| at + end + 4);
            }
            _ => return at,
        }
    }
}

/// The file that a directive names, and where it ends.
fn named(bytes: &[u8], at: usize, word: &[u8]) -> (Wants, usize) {
    let begin = skip_blank(bytes, at);
    let refuse = |message: String, end: usize| (Wants::Nothing(message), end);
    if word != b"include" {
        return refuse(
            format!("`#{}` is not allowed: only `#include` is", String::from_utf8_lossy(word)),
            at,
        );
    }
    let close = match bytes.get(begin) {
        Some(b'"') => b'"',
        Some(b'<') => b'>',
        _ => return refuse("an `#include` must name its file itself, not through a macro".to_owned(), at),
    };
    let line = bytes[begin + 1..].iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len() - begin - 1);
    let Some(length) = bytes[begin + 1..begin + 1 + line].iter().position(|byte| *byte == close) else {
        return refuse("an `#include` must name its file in one pair of quotes or brackets".to_owned(), at);
    };
    let name = String::from_utf8_lossy(&bytes[begin + 1..begin + 1 + length]).into_owned();
    let end = begin + length + 2;
    (if close == b'"' { Wants::Local(name) } else { Wants::Toolkit(name) }, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(text: &str) -> Vec<Wants> {
        scan(text).into_iter().map(|directive| directive.wants).collect()
    }

    #[test]
    fn every_spelling_of_an_include_is_seen() {
        for text in [
            "#include \"a.h\"",
            "  #  include\"a.h\"",
            "#/* x */include /* y */ \"a.h\"",
            "#inc\\\nlude \"a.h\"",
            "#inc\\ \t\nlude \"a.h\"",
            "%:include \"a.h\"",
            "??=include \"a.h\"",
            "// #include \"a.h\"",
            "char* s = \"/*\";\n#include \"a.h\"\n//*/",
            "# \\\n include \\\n \"a.h\"",
        ] {
            assert_eq!(wants(text), [Wants::Local("a.h".to_owned())], "{text}");
        }
        assert_eq!(wants("#include <cuda_bf16.h>"), [Wants::Toolkit("cuda_bf16.h".to_owned())]);
        assert!(wants("#define X 1\nint include = 3;").is_empty());
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        for text in [
            "#include FILE",
            "#include_next <a.h>",
            "#import \"a.h\"",
            "#embed \"a\"",
            "#include \"a.h\n\"",
            "#include",
            "#if __has_include(\"/etc/passwd\")",
            "auto t = __TIME__;",
            "__D\\\nATE__",
        ] {
            assert!(matches!(wants(text)[..], [Wants::Nothing(_)]), "{text}: {:?}", wants(text));
        }
    }

    #[test]
    fn brackets_do_not_leave_the_toolkit() {
        for name in ["/etc/passwd", "../../etc/passwd", "a/../../b", "..\\b"] {
            assert!(toolkit(name).is_err(), "{name}");
        }
        assert!(toolkit("cuda/std/array").is_ok());
    }
}
