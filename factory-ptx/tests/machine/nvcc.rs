//! What nvcc makes of ordinary CUDA C++ decodes, but for the entries that use what the machine names as missing.

use std::path::Path;

use factory_ptx::machine::Kernel;

#[test]
fn entries_decode_or_name_what_they_need() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/nvcc");
    let mut decoded = 0;
    let mut declined = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the corpus is there") {
        let path = entry.expect("readable").path();
        if path.extension().is_none_or(|extension| extension != "ptx") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("the program is there");
        let module = factory_ptx::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for entry in module.entries() {
            match Kernel::new(&module, &entry.name) {
                Ok(_) => decoded += 1,
                Err(unsupported) => {
                    declined.push((path.file_name().map(|n| n.to_string_lossy().into_owned()), unsupported));
                }
            }
        }
    }
    let unexpected: Vec<String> = declined
        .iter()
        .filter(|(file, _)| {
            !file.as_deref().is_some_and(|f| f.starts_with("hopper") || f.starts_with("pipeline"))
        })
        .map(|(file, unsupported)| format!("{}: {unsupported}", file.as_deref().unwrap_or("")))
        .collect();
    assert!(unexpected.is_empty(), "{decoded} entries decode, these do not:\n{}", unexpected.join("\n"));
    assert!(decoded > 0);
}
