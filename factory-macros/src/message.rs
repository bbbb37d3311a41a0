//! What the attribute says when something outside of the signature is amiss.

use std::path::Path;

/// `OUT_DIR` is not set: cargo sets it for packages that have a build script.
pub(crate) fn no_build_script(name: &str) -> String {
    format!(
        "`{name}` has no kernel: this package has no build script that looks for one\n\n\
         hint: add to `Cargo.toml`\n\n    \
         [build-dependencies]\n    factory-build = \"{version}\"\n\n\
         and to `build.rs`, beside it,\n\n    \
         fn main() {{\n        factory_build::compile();\n    }}",
        version = short_version(),
    )
}

/// There is a build script, but it left nothing for this key.
pub(crate) fn not_built(name: &str, spec: &str, key: &str) -> String {
    format!(
        "`{name}` has no kernel: the build script left none for `{spec}` (key {key})\n\n\
         hint: `build.rs` must call `factory_build::compile()`, which looks for signatures in `src`, `examples`, `tests`\n\
         and `benches`; name files elsewhere, or made by macros, with `factory_build::Factory::new().file(..)`.\n\
         If the spec was changed while a build ran, build again; `touch build.rs` makes the build script run"
    )
}

/// The spec is not there or cannot be opened, by the file system's own words.
pub(crate) fn no_manifest_folder() -> String {
    "`CARGO_MANIFEST_DIR` is not set, so the spec's folder is not known\n\nhint: build with cargo".to_owned()
}

/// A path that Rust source cannot hold.
pub(crate) fn path_is_no_text(path: &Path) -> String {
    format!(
        "the spec's path `{}` is not valid Unicode, so it cannot be written into the program\n\nhint: rename the folder",
        path.display()
    )
}

/// `major.minor` of this crate, as one writes it in a manifest.
fn short_version() -> &'static str {
    let version = env!("CARGO_PKG_VERSION");
    version.rsplit_once('.').map_or(version, |(short, _)| short)
}
