//! Real nvcc output: it parses, it checks, and it survives printing.

use std::path::{Path, PathBuf};

use factory_ptx::ast::{Item, Statement};
use factory_ptx::{check, parse};

fn corpus() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/nvcc");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the corpus is part of the repository")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ptx"))
        .collect();
    files.sort();
    assert!(files.len() >= 30, "{} files", files.len());
    files.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).expect("UTF-8"))).collect()
}

#[test]
fn every_file_parses_checks_and_survives_printing() {
    for (path, text) in corpus() {
        let module = parse(&text).unwrap_or_else(|errors| panic!("{}: {errors}", path.display()));
        if let Err(errors) = check(&module) {
            let all: Vec<String> = errors.iter().map(|error| error.render(&text)).collect();
            panic!("{}:\n{}", path.display(), all.join("\n"));
        }
        let printed = module.to_string();
        let again = parse(&printed).unwrap_or_else(|errors| panic!("{} printed: {errors}", path.display()));
        assert!(again == module, "{} changed when it was printed", path.display());
        assert_eq!(again.to_string(), printed, "{}: printing is not stable", path.display());
    }
}

#[test]
fn spans_point_at_their_text() {
    for (path, text) in corpus() {
        let module = parse(&text).expect("parses, see above");
        for item in &module.items {
            let Item::Function(function) = item else { continue };
            for statement in function.body.iter().flatten() {
                let Statement::Instruction(instruction) = statement else { continue };
                let span = instruction.span;
                let source = &text[span.offset as usize..(span.offset + span.len) as usize];
                assert!(source.starts_with(&instruction.opcode), "{}: {source}", path.display());
                let line = text.lines().nth(span.line as usize - 1).unwrap_or_default();
                assert!(
                    line[span.column as usize - 1..].starts_with(&instruction.opcode),
                    "{}: {line}",
                    path.display()
                );
            }
        }
    }
}
